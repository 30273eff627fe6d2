"""Several cores of one network as one, so that a batch can hold subproblems of several instances.

The k-th layers of all cores are one, padded to the largest; they need not be of the same site. A padded neuron counts
as split and all its weights are zero: it adds nothing to any bound and is never chosen. The columns of a batch are
sorted by core.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest

import torch
from torch import Tensor

from abcrown_graft.core.block import Block
from abcrown_graft.core.core import Core, Layer
from abcrown_graft.core.dual import Duals, Optimized, Rows
from abcrown_graft.core.products import Columns, Product, Stack


@dataclass(frozen=True, eq=False)
class JointLayer:
    """A layer as the columns of a batch see it, see `Layer`: bounds and constants are `(n, batch)`."""

    lower: Tensor
    upper: Tensor
    constant: Tensor
    from_input: Product
    from_layers: Mapping[int, Product]


@dataclass(frozen=True, eq=False)
class JointCore:
    """A core as the columns of a batch see it, see `Core`: the box is `(d, batch)`, constants `(literals, batch)`."""

    joint: Joint
    columns: Columns
    lower: Tensor
    upper: Tensor
    layers: tuple[JointLayer, ...]
    out_input: Product
    out_layers: tuple[Product, ...]
    out_constant: Tensor

    @property
    def sizes(self) -> list[int]:
        """Number of neurons of each layer, padding included."""
        return self.joint.sizes

    def select(self, columns: Tensor) -> JointCore:
        """For these columns of the batch: a mask, or numbers in ascending order."""
        return self.joint.seen_by(self.columns.owner[columns])

    def beside(self, mix: Tensor) -> Tensor | None:
        """See `Core.beside`."""
        if self.joint.single_literals:
            return None
        clause = self.joint.clause[:, self.columns.owner]
        return clause == clause.gather(0, mix.argmax(0, keepdim=True))


@dataclass(frozen=True, eq=False)
class _Stacked:
    """A layer of all cores, padded: `(n, cores)` and stacks."""

    lower: Tensor
    upper: Tensor
    constant: Tensor
    from_input: Stack
    from_layers: Mapping[int, Stack]

    @classmethod
    def of(cls, layers: Sequence[Layer | None], sizes: list[int], k: int, inputs: int) -> _Stacked:
        some = [layer for layer in layers if layer is not None]
        used = sorted({j for layer in some for j in layer.from_layers})
        like, size = some[0].lower, sizes[k]

        def columns(values: Callable[[Layer], Tensor], fill: float) -> Tensor:
            return _columns([None if layer is None else values(layer) for layer in layers], size, like, fill)

        def stack(block: Callable[[Layer], Block | None], width: int) -> Stack:
            return Stack([None if layer is None else block(layer) for layer in layers], (size, width))

        def between(j: int) -> Stack:
            return stack(lambda layer: layer.from_layers.get(j), sizes[j])

        return cls(
            columns(lambda layer: layer.lower, -1.0),
            columns(lambda layer: layer.upper, 1.0),
            columns(lambda layer: layer.constant, 0.0),
            stack(lambda layer: layer.from_input, inputs),
            {j: between(j) for j in used},
        )


class Joint:
    """Cores of one network, on one device and in one precision, aligned.

    Attributes:
        cores: the cores.
        sizes: number of neurons of each layer: the largest of any core.
        rows: where the neurons of each core lie among all of these, one `(neurons,)` for each core.
        clause: of each core's literals, `(literals, cores)`; -1 is padding.
        single_literals: whether no clause has more than one literal.
        batched: see `products`.
    """

    def __init__(self, cores: Sequence[Core], batched: bool | None = None) -> None:
        self.cores = tuple(cores)
        self.batched = cores[0].lower.is_cuda if batched is None else batched
        layers = list(zip_longest(*(core.layers for core in cores)))
        outs = zip_longest(*(core.out_layers for core in cores))
        self.sizes = [max(len(layer.neurons) for layer in row if layer is not None) for row in layers]
        self.rows = [_rows([row[number] for row in layers], self.sizes, core) for number, core in enumerate(cores)]
        inputs, literals, like = len(cores[0].lower), max(len(core.clause) for core in cores), cores[0].lower
        self.clause = _columns([core.clause for core in cores], literals, cores[0].clause, -1)
        self.single_literals = all(core.beside(like.new_zeros(len(core.clause), 0)) is None for core in cores)
        self._layers = [_Stacked.of(row, self.sizes, k, inputs) for k, row in enumerate(layers)]
        self._lower = torch.stack([core.lower for core in cores], 1)
        self._upper = torch.stack([core.upper for core in cores], 1)
        self._out_input = Stack([core.out_input for core in cores], (literals, inputs))
        self._out_layers = [Stack(row, (literals, size)) for row, size in zip(outs, self.sizes, strict=True)]
        self._out_constant = _columns([core.out_constant for core in cores], literals, like, 0.0)

    @cached_property
    def neurons(self) -> int:
        """Of all layers, padding included."""
        return sum(self.sizes)

    def seen_by(self, owner: Tensor) -> JointCore:
        """The cores as seen by columns that belong to the cores of these numbers, ascending, `(batch,)`."""
        columns = Columns.of(owner, len(self.cores))

        def product(stack: Stack) -> Product:
            return Product(columns, stack, self.batched)

        layers = [
            JointLayer(
                layer.lower[:, owner],
                layer.upper[:, owner],
                layer.constant[:, owner],
                product(layer.from_input),
                {j: product(stack) for j, stack in layer.from_layers.items()},
            )
            for layer in self._layers
        ]
        lower, upper = self._lower[:, owner], self._upper[:, owner]
        outs = product(self._out_input), tuple(product(stack) for stack in self._out_layers)
        return JointCore(self, columns, lower, upper, tuple(layers), *outs, self._out_constant[:, owner])

    def join(self, parts: Sequence[Duals]) -> tuple[JointCore, Duals]:
        """Subproblems of every core, in the order of the cores, as one batch, and the core that it sees."""
        padded = [self._padded(part, rows) for part, rows in zip(parts, self.rows, strict=True)]
        return self._seen_by_all(parts), Duals.cat(padded)

    def join_parents(self, parts: Sequence[Optimized]) -> tuple[JointCore, Optimized]:
        """As `join`, of subproblems that are bounded already."""
        padded = [
            replace(part.with_rows(self._spread(rows), self._lengthened), duals=self._padded(part.duals, rows))
            for part, rows in zip(parts, self.rows, strict=True)
        ]
        return self._seen_by_all(parts), Optimized.cat(padded)

    def part(self, found: Optimized, number: int, columns: slice) -> Optimized:
        """Some columns of a batch as the columns of their own core.

        Args:
            found: a batch of all cores.
            number: of the core.
            columns: of the batch, all of that core.
        """
        rows, literals = self.rows[number], len(self.cores[number].clause)
        return found[columns].with_rows(lambda values: values[rows], lambda values: values[:literals])

    def _seen_by_all(self, parts: Sequence[Sized]) -> JointCore:
        counts = torch.tensor([len(part) for part in parts])
        return self.seen_by(torch.arange(len(parts)).repeat_interleave(counts).to(self.clause.device))

    def _padded(self, part: Duals, rows: Tensor) -> Duals:
        """Variables of one core's neurons, `rows` of all, as those of all; the others count as split."""
        duals = part.with_rows(self._spread(rows), self._lengthened)
        padding = torch.ones_like(duals.split).index_fill_(0, rows, 0)
        return replace(duals, split=duals.split + padding)

    def _spread(self, rows: Tensor) -> Rows:
        """From tensors over one core's neurons, `rows` of all, to tensors over all; the others are zero."""
        return lambda values: values.new_zeros(self.neurons, values.shape[1]).index_copy_(0, rows, values)

    def _lengthened(self, values: Tensor) -> Tensor:
        """From a tensor over one core's literals to one over the most that a core has; the others are zero."""
        return torch.cat([values, values.new_zeros(len(self.clause) - len(values), values.shape[1])])


def _rows(layers: Sequence[Layer | None], sizes: list[int], core: Core) -> Tensor:
    """Where a core's neurons lie among those of all layers, `(neurons,)`."""
    parts = [torch.arange(0, device=core.clause.device)]
    for k, layer in enumerate(layers):
        if layer is not None:
            parts.append(torch.arange(len(layer.neurons), device=core.clause.device) + sum(sizes[:k]))
    return torch.cat(parts)


def _columns(values: Sequence[Tensor | None], size: int, like: Tensor, fill: float) -> Tensor:
    """Vectors as columns, filled up to `size`."""
    out = torch.full((size, len(values)), fill, dtype=like.dtype, device=like.device)
    for number, value in enumerate(values):
        if value is not None:
            out[: len(value), number] = value
    return out
