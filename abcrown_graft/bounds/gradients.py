"""Ranges of a network's derivatives over boxes, by interval arithmetic backwards.

Reference: Wang et al. 2018, "Formal security analysis of neural networks using symbolic intervals", section 4.3. They
serve to choose what to split, so rounding is not accounted for.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from abcrown_graft.bounds.propagate import NetworkBounds
from abcrown_graft.bounds.reverse import pull_to_input
from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Node


@dataclass(frozen=True, eq=False)
class Range:
    """Coefficients between `centre - radius` and `centre + radius`, both `(rows, *shape)`."""

    centre: Tensor
    radius: Tensor

    def __add__(self, other: Range) -> Range:
        return Range(self.centre + other.centre, self.radius + other.radius)

    def scaled(self, low: Tensor, high: Tensor) -> Range:
        """Times anything between `low` and `high`."""
        ends = (self.centre - self.radius, self.centre + self.radius)
        products = torch.stack([end * slope for end in ends for slope in (low, high)])
        least, most = products.amin(0), products.amax(0)
        return Range((least + most) / 2, (most - least) / 2)


def steepest(bounds: NetworkBounds, rows: Tensor) -> Tensor:
    """How steep linear functions of the output can be along each input: at least their absolute derivatives.

    Args:
        bounds: from `bound_network`.
        rows: coefficients `(batch, spec, outputs)`.

    Returns:
        `(batch, spec, *input shape)`.
    """
    network, spec = bounds.network, rows.shape[1]

    def activation(site: str, found: Range) -> tuple[Range, float]:
        slopes = network.activation(site).slopes(bounds.pre_activation[site])
        return found.scaled(slopes.lower.repeat_interleave(spec, 0), slopes.upper.repeat_interleave(spec, 0)), 0.0

    def affine(node: Node, operator: op.AffineOperator, found: Range) -> tuple[list[Range], float]:
        shapes = network.input_shapes(node.name)
        centres, _ = operator.pull_back(found.centre, shapes)
        radii, _ = operator.absolute().pull_back(found.radius, shapes)
        return [Range(*ends) for ends in zip(centres, radii, strict=True)], 0.0

    start, zero = rows.flatten(0, 1), rows.new_zeros(())
    whole = Range(start, torch.zeros_like(start))
    at_input, _ = pull_to_input(network, network.output.name, whole, zero, activation, affine)
    largest: Tensor = at_input.centre.abs() + at_input.radius
    return largest.view(*rows.shape[:2], *largest.shape[1:])
