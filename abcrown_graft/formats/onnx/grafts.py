"""Grafted activations that a file spells out as arithmetic become sites again.

Both known forms are a line plus a gated ReLU of one tensor z, `a z + b + g relu(r z + c)`:

- `A z + B + relu(R z - m)` with `R = 1 - m`, `A = m a`, `B = m b` (this package's export);
- `m (a z + b) + (1 - m) relu(z)`.

A sum of this kind is a GraftedReLU exactly if every neuron is either plain (`a = b = 0`, `g = r = 1`, `c = 0`) or
linear (`g = 0`, or `r = 0` and `c <= 0`). Anything else is left as it is.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network, Node


@dataclass(frozen=True, eq=False)
class _Line:
    """`scale * z + shift` for a node z."""

    source: str
    scale: Tensor
    shift: Tensor


def with_grafts(network: Network) -> Network:
    """The same network; what the sums were made of is left behind if something else reads it, or as dead ends."""
    return Network(tuple(_recognised(network, node) for node in network.nodes))


def _recognised(network: Network, node: Node) -> Node:
    if not isinstance(node.operator, op.Add):
        return node
    for linear, gated in (node.inputs, node.inputs[::-1]):
        for gate in _lines(network, gated):
            relu = network.by_name[gate.source]
            if isinstance(relu.operator, op.ReLU):
                found = _graft(network, node, _lines(network, linear), gate, _lines(network, relu.inputs[0]))
                if found is not None:
                    return found
    return node


def _lines(network: Network, name: str) -> list[_Line]:
    """A node as a line of itself, and of what it scales."""
    like = torch.ones((), dtype=network.dtype, device=network.device)
    operator = network.by_name[name].operator
    found = [_Line(name, like, torch.zeros_like(like))]
    if isinstance(operator, op.Scale):
        found.append(_Line(network.by_name[name].inputs[0], operator.scale, operator.shift))
    return found


def _graft(network: Network, node: Node, outer: list[_Line], gate: _Line, inner: list[_Line]) -> Node | None:
    """The node as a site that reads a tensor of which both terms are functions."""
    for line in outer:
        for kept in inner:
            if line.source == kept.source:
                operator = _activation(line, gate, kept, node.shape)
                if operator is not None:
                    return dataclasses.replace(node, operator=operator, inputs=(line.source,))
    return None


def _activation(line: _Line, gate: _Line, kept: _Line, shape: tuple[int, ...]) -> op.Activation | None:
    a, b, g, shift, r, c = (
        tensor.expand(shape) for tensor in (line.scale, line.shift, gate.scale, gate.shift, kept.scale, kept.shift)
    )
    linear = (g == 0) | ((r == 0) & (c <= 0))
    plain = (a == 0) & (b == 0) & (shift == 0) & (g == 1) & (r == 1) & (c == 0)
    one_intercept = (b == 0) | (shift == 0)  # so that their sum is exact
    if not bool(((linear & one_intercept) | plain).all()):
        return None
    mask = ~plain
    return op.GraftedReLU(mask, a.clone(), b + shift) if bool(mask.any()) else op.ReLU()
