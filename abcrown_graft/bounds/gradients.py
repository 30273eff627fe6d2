"""Ranges of a network's derivatives over boxes, by interval arithmetic backwards; one rule per activation.

Reference: Wang et al. 2018, "Formal security analysis of neural networks using symbolic intervals", section 4.3. They
serve to choose what to split, so rounding is not accounted for.
"""

from __future__ import annotations

import dataclasses
from functools import singledispatch

import torch
from torch import Tensor

from abcrown_graft.bounds.adjoint import pull_back
from abcrown_graft.bounds.propagate import NetworkBounds
from abcrown_graft.errors import UnsupportedError
from abcrown_graft.geometry.box import Box
from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network, Node

Range = tuple[Tensor, Tensor]
"""Centres and radii of coefficients, `(rows, *shape)`."""


def steepest(bounds: NetworkBounds, rows: Tensor) -> Tensor:
    """How steep linear functions of the output can be along each input: at least their absolute derivatives.

    Args:
        bounds: from `bound_network`.
        rows: coefficients `(batch, spec, outputs)`.

    Returns:
        `(batch, spec, *input shape)`.
    """
    network, spec = bounds.network, rows.shape[1]
    start = rows.flatten(0, 1)
    pending: dict[str, Range] = {network.output.name: (start, torch.zeros_like(start))}
    for node in reversed(network.nodes[1:]):
        if node.name not in pending:
            continue
        found = pending.pop(node.name)
        if isinstance(node.operator, op.Activation):
            slopes = slope_range(node.operator, bounds.pre_activation[node.name])
            parts = [_scaled(found, slopes.lower.repeat_interleave(spec, 0), slopes.upper.repeat_interleave(spec, 0))]
        else:
            parts = _pulled_back(network, node, found)
        for source, (centre, radius) in zip(node.inputs, parts, strict=True):
            known = pending.get(source, (0.0, 0.0))
            pending[source] = (known[0] + centre, known[1] + radius)
    centre, radius = pending[network.input.name]
    return (centre.abs() + radius).unflatten(0, rows.shape[:2])


def _pulled_back(network: Network, node: Node, found: Range) -> list[Range]:
    shapes = tuple(network.by_name[source].shape for source in node.inputs)
    magnitudes = {name: value.abs() for name, value in vars(node.operator).items() if name in ("weight", "scale")}
    unsigned = dataclasses.replace(node.operator, **magnitudes)
    centres, _ = pull_back(node.operator, found[0], shapes)
    radii, _ = pull_back(unsigned, found[1], shapes)
    return list(zip(centres, radii, strict=True))


def _scaled(found: Range, low: Tensor, high: Tensor) -> Range:
    """Times anything between `low` and `high`."""
    centre, radius = found
    ends = torch.stack([end * slope for end in (centre - radius, centre + radius) for slope in (low, high)])
    least, most = ends.amin(0), ends.amax(0)
    return (least + most) / 2, (most - least) / 2


@singledispatch
def slope_range(operator: op.Activation, z: Box) -> Box:
    """The derivatives `(batch, *neurons)` that an activation has on the box of its inputs."""
    raise UnsupportedError(f"activation {type(operator).__name__} has no range of slopes")


@slope_range.register
def _(operator: op.ReLU, z: Box) -> Box:
    return _hinge(z, 0.0)


@slope_range.register
def _(operator: op.LeakyReLU, z: Box) -> Box:
    return _hinge(z, operator.negative_slope)


@slope_range.register
def _(operator: op.GraftedReLU, z: Box) -> Box:
    hinge = _hinge(z, 0.0)
    slopes = (torch.where(operator.mask, operator.slope, ends) for ends in (hinge.lower, hinge.upper))
    return Box(*slopes)


def _hinge(z: Box, slope: float) -> Box:
    """Of `max(z, slope * z)`, 0 <= slope <= 1."""
    one, other = torch.ones_like(z.lower), torch.full_like(z.lower, slope)
    return Box(torch.where(z.lower >= 0, one, other), torch.where(z.upper > 0, one, other))
