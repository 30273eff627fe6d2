"""The core: unstable neurons only, exact over the box.

For every input x of the box, with y = relu(z):

    z_k = L_k x + sum_{j<k} M_kj y_j + c_k          for the unstable neurons of layer k
    out = L_o x + sum_j M_oj y_j + c_o              for the literals of the property

The property is in conjunctive normal form: in every clause, some literal is positive at every x of
the box. (The unsafe outputs are then in disjunctive normal form, as VNN-LIB states them.) Robustness
has one clause for each other class, its only literal the margin over that class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from abcrown_graft.core.block import Block
from abcrown_graft.geometry.box import Box


@dataclass(frozen=True, eq=False)
class Layer:
    """The unstable neurons of one site.

    Attributes:
        site: the activation's name.
        neurons: their numbers in the flattened site, `(n,)`.
        lower, upper: bounds of their inputs z, `(n,)`, lower < 0 < upper.
        from_input: L_k, `(n, d)`.
        from_layers: M_kj by number j of the earlier layer; all-zero blocks are left out.
        constant: c_k, `(n,)`.
        error: how far each row can be from the network because its entries were rounded, `(n,)`.
    """

    site: str
    neurons: Tensor
    lower: Tensor
    upper: Tensor
    from_input: Block
    from_layers: Mapping[int, Block]
    constant: Tensor
    error: Tensor


@dataclass(frozen=True, eq=False)
class Core:
    """A verification instance reduced to its unstable neurons.

    Attributes:
        lower, upper: the input box, flattened, `(d,)`.
        layers: in forward order; sites without unstable neurons are left out.
        out_input: L_o, `(literals, d)`.
        out_layers: M_oj for every layer j, `(literals, n_j)`.
        out_constant: c_o, `(literals,)`.
        out_error: as `Layer.error`, `(literals,)`.
        clause: number of the clause that each literal belongs to, `(literals,)`.
    """

    lower: Tensor
    upper: Tensor
    layers: tuple[Layer, ...]
    out_input: Block
    out_layers: tuple[Block, ...]
    out_constant: Tensor
    out_error: Tensor
    clause: Tensor

    @property
    def sizes(self) -> list[int]:
        """Number of unstable neurons of each layer."""
        return [len(layer.neurons) for layer in self.layers]

    @property
    def nonzeros(self) -> int:
        """Multiply-adds of one pass for one subproblem: the non-zeros of all L_k and M_kj."""
        blocks = (block for layer in self.layers for block in (layer.from_input, *layer.from_layers.values()))
        return sum(block.nonzeros for block in blocks)

    def select(self, columns: Tensor) -> Core:
        """The core of some columns of a batch: `self`, as one core serves all columns; `JointCore` overrides it."""
        return self

    def beside(self, mix: Tensor) -> Tensor | None:
        """The literals of the clause that each column of `mix` is about; None if every clause has but one literal."""
        if len(self.clause.unique()) == len(self.clause):
            return None
        return self.clause.unsqueeze(1) == self.clause[mix.argmax(0)]

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Core:
        """The same core elsewhere or about the same in another precision; its input box holds this one."""
        layers = tuple(
            Layer(
                layer.site,
                layer.neurons.to(device=device),
                layer.lower.to(device=device, dtype=dtype),
                layer.upper.to(device=device, dtype=dtype),
                layer.from_input.to(device, dtype),
                {j: block.to(device, dtype) for j, block in layer.from_layers.items()},
                layer.constant.to(device=device, dtype=dtype),
                layer.error.to(device=device, dtype=dtype),
            )
            for layer in self.layers
        )
        box = Box(self.lower, self.upper).to(device, dtype)
        out_constant, out_error = (t.to(device=device, dtype=dtype) for t in (self.out_constant, self.out_error))
        out_input, out_layers = self.out_input.to(device, dtype), tuple(t.to(device, dtype) for t in self.out_layers)
        clause = self.clause.to(device=device)
        return Core(box.lower, box.upper, layers, out_input, out_layers, out_constant, out_error, clause)


class Factor(Protocol):
    """A matrix that the columns of a batch are multiplied with."""

    def __matmul__(self, columns: Tensor) -> Tensor:
        """`(columns, batch)` to `(rows, batch)`."""

    def transpose_times(self, columns: Tensor) -> Tensor:
        """`(rows, batch)` to `(columns, batch)`."""


class LayerView(Protocol):
    """A layer as a batch of subproblems sees it: as in `Layer`, or with a column of bounds for each subproblem."""

    @property
    def lower(self) -> Tensor:
        """`(n,)` or `(n, batch)`."""

    @property
    def upper(self) -> Tensor:
        """`(n,)` or `(n, batch)`."""

    @property
    def constant(self) -> Tensor:
        """`(n,)` or `(n, batch)`."""

    @property
    def from_input(self) -> Factor:
        """L_k."""

    @property
    def from_layers(self) -> Mapping[int, Factor]:
        """M_kj by number j of the earlier layer."""


class CoreView(Protocol):
    """What a batch of subproblems needs of a core: of one (`Core`), or of several (`joint.JointCore`)."""

    @property
    def lower(self) -> Tensor:
        """Of the input box, `(d,)` or `(d, batch)`."""

    @property
    def upper(self) -> Tensor:
        """Of the input box, `(d,)` or `(d, batch)`."""

    @property
    def layers(self) -> Sequence[LayerView]:
        """In forward order."""

    @property
    def out_input(self) -> Factor:
        """L_o."""

    @property
    def out_layers(self) -> Sequence[Factor]:
        """M_oj for every layer j."""

    @property
    def out_constant(self) -> Tensor:
        """c_o, `(literals,)` or `(literals, batch)`."""

    @property
    def sizes(self) -> list[int]:
        """Number of neurons of each layer."""

    def select(self, columns: Tensor) -> CoreView:
        """For these columns of the batch: a mask, or numbers in ascending order."""

    def beside(self, mix: Tensor) -> Tensor | None:
        """The literals of the clause that each column of `mix` is about; None if every clause has but one literal."""


def evaluate_core(core: Core, inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Literals `(literals, batch)` and the layers' z `(n_k, batch)` for flattened inputs `(d, batch)` of the box."""
    values: list[Tensor] = []
    for layer in core.layers:
        z = layer.from_input @ inputs + layer.constant.unsqueeze(1)
        for j, block in layer.from_layers.items():
            z = z + block @ values[j].relu()
        values.append(z)
    out = core.out_input @ inputs + core.out_constant.unsqueeze(1)
    for weights, z in zip(core.out_layers, values, strict=True):
        out = out + weights @ z.relu()
    return out, values
