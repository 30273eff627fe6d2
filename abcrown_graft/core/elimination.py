"""Tighter bounds for one layer of a core: neurons that become stable leave it by substitution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from abcrown_graft.core.block import Block
from abcrown_graft.core.core import Core, Layer


def with_bounds(core: Core, number: int, lower: Tensor, upper: Tensor) -> Core:
    """The core in which layer `number` has the given bounds `(n,)`, without the neurons that they make stable.

    An inactive neuron's column is dropped, an active one's is replaced by its row: `y = z = L x + M y + c`.
    Rows that take in others take in their errors too, and what the substitution itself rounds: entries are
    sums of products, each off by at most `gamma_N sum |terms|` (see `bounds/rounding`), times the largest
    values that x and y can have.

    Args:
        core: in float64.
        number: of the layer.
        lower, upper: sound bounds of its z over the box.
    """
    layer = core.layers[number]
    unstable, active = (lower < 0) & (upper > 0), lower >= 0
    taken = _Rows.of(core, layer.from_input, layer.from_layers, layer.constant, layer.error)

    def substituted(rows: _Rows) -> _Rows:
        return rows.without(number, taken.select(active), active, unstable) if number in rows.layers else rows

    kept = taken.select(unstable)
    bounded = replace(layer, neurons=layer.neurons[unstable], lower=lower[unstable], upper=upper[unstable])
    later = [
        (old, substituted(_Rows.of(core, old.from_input, old.from_layers, old.constant, old.error)))
        for old in core.layers[number + 1 :]
    ]
    out = _Rows.of(core, core.out_input, dict(enumerate(core.out_layers)), core.out_constant, core.out_error)
    layers = (*core.layers[:number], kept.layer(bounded), *(rows.layer(old) for old, rows in later))
    changed = substituted(out).out(replace(core, layers=layers))
    return changed if len(kept.constant) else _without_layer(changed, number)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows over x and over earlier layers' y: `input (n, d)`, `layers (n, n_j)`, `constant`, `error`, `size` `(n,)`.

    `size` is the sum of the absolute values of a row's terms at most.
    """

    input: Tensor
    layers: Mapping[int, Tensor]
    constant: Tensor
    error: Tensor
    size: Tensor

    @classmethod
    def of(cls, core: Core, of_input: Block, of_layers: Mapping[int, Block], constant: Tensor, error: Tensor) -> _Rows:
        dense = {j: block.dense() for j, block in of_layers.items()}
        at_input = of_input.dense()
        size = at_input.abs() @ torch.maximum(core.lower.abs(), core.upper.abs()) + constant.abs()
        for j, block in dense.items():
            size = size + block.abs() @ core.layers[j].upper
        return cls(at_input, dense, constant, error, size)

    def select(self, rows: Tensor) -> _Rows:
        layers = {j: block[rows] for j, block in self.layers.items()}
        return _Rows(self.input[rows], layers, self.constant[rows], self.error[rows], self.size[rows])

    def without(self, number: int, source: _Rows, active: Tensor, unstable: Tensor) -> _Rows:
        """These rows with the active neurons of a layer replaced by `source`, their rows."""
        column = self.layers[number][:, active]
        layers = {**self.layers, number: self.layers[number][:, unstable]}
        for j, block in source.layers.items():
            layers[j] = layers[j] + column @ block if j in layers else column @ block
        size = self.size + column.abs() @ source.size
        relative = 2 * (column.shape[1] + 4) * torch.finfo(column.dtype).eps
        error = (self.error + column.abs() @ source.error) * (1 + relative) + relative * size
        constant = self.constant + column @ source.constant
        return _Rows(self.input + column @ source.input, layers, constant, error, size)

    def layer(self, like: Layer) -> Layer:
        blocks = {j: Block.of(block) for j, block in self.layers.items() if bool(block.any())}
        return replace(
            like, from_input=Block.of(self.input), from_layers=blocks, constant=self.constant, error=self.error
        )

    def out(self, core: Core) -> Core:
        blocks = tuple(Block.of(self.layers[j]) for j in range(len(core.layers)))
        return replace(
            core,
            out_input=Block.of(self.input),
            out_layers=blocks,
            out_constant=self.constant,
            out_error=self.error,
        )


def _without_layer(core: Core, number: int) -> Core:
    def renumbered(blocks: Mapping[int, Block]) -> dict[int, Block]:
        return {j - (j > number): block for j, block in blocks.items() if j != number}

    layers = tuple(
        replace(layer, from_layers=renumbered(layer.from_layers)) for k, layer in enumerate(core.layers) if k != number
    )
    return replace(core, layers=layers, out_layers=tuple(b for k, b in enumerate(core.out_layers) if k != number))
