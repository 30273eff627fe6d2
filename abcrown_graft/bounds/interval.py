"""Interval arithmetic: one rule per operator.

For an affine map `W x + b` and a box of centre c and radius r, the tightest interval is
`W c + b ± |W| r` (Gowal et al. 2018, "On the effectiveness of interval bound propagation", eq. 5).
"""

from __future__ import annotations

import dataclasses
from functools import singledispatch

import torch

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.geometry.box import Box
from abcrown_graft.network import operators as op
from abcrown_graft.network.forward import apply
from abcrown_graft.network.graph import Network


@singledispatch
def interval(operator: op.Operator, *inputs: Box) -> Box:
    """A box that holds the operator's output for all inputs in the given boxes."""
    raise UnsupportedError(f"operator {type(operator).__name__} has no interval rule")


def interval_boxes(network: Network, box: Box) -> dict[str, Box]:
    """Interval bounds of every node's output, by name."""
    boxes = {network.input.name: box}
    for node in network.nodes[1:]:
        boxes[node.name] = interval(node.operator, *(boxes[name] for name in node.inputs))
    return boxes


def _centre_radius(operator: op.Conv2d | op.Linear, x: Box) -> Box:
    centre = apply(operator, (x.lower + x.upper) / 2)
    magnitude = dataclasses.replace(operator, weight=operator.weight.abs(), bias=torch.zeros_like(operator.bias))
    radius = apply(magnitude, (x.upper - x.lower) / 2)
    return Box(centre - radius, centre + radius)


interval.register(op.Conv2d, _centre_radius)
interval.register(op.Linear, _centre_radius)


def _monotone(operator: op.Operator, *inputs: Box) -> Box:
    return Box(apply(operator, *(x.lower for x in inputs)), apply(operator, *(x.upper for x in inputs)))


for _type in (op.AvgPool2d, op.Pad, op.Reshape, op.Select, op.Add, op.Concat, op.ReLU, op.LeakyReLU):
    interval.register(_type, _monotone)


@interval.register
def _(operator: op.Scale, x: Box) -> Box:
    first, second = apply(operator, x.lower), apply(operator, x.upper)
    return Box(torch.minimum(first, second), torch.maximum(first, second))


@interval.register
def _(operator: op.GraftedReLU, x: Box) -> Box:
    first, second = apply(operator, x.lower), apply(operator, x.upper)
    return Box(torch.minimum(first, second), torch.maximum(first, second))
