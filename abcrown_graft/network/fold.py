"""Folds element-wise scalings (batch normalisation) into the convolution or linear layer before them."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network, Node


def fold_scales(network: Network) -> Network:
    """The same function with every foldable `Scale` merged into its predecessor.

    A `Scale` is foldable if the node before it is a convolution or linear layer that nothing else
    reads, and it acts per output channel. The products are formed in float64 and rounded once.
    """
    nodes: list[Node] = []
    renamed: dict[str, str] = {}
    for node in network.nodes:
        node = dataclasses.replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
        position = _foldable_into(network, node, nodes)
        if position is None:
            nodes.append(node)
            continue
        before = nodes[position]
        nodes[position] = dataclasses.replace(before, operator=_merge(before.operator, node.operator))
        renamed[node.name] = before.name
    return Network(tuple(nodes))


def _foldable_into(network: Network, node: Node, nodes: list[Node]) -> int | None:
    if not isinstance(node.operator, op.Scale):
        return None
    position = next(k for k, other in enumerate(nodes) if other.name == node.inputs[0])
    before = nodes[position]
    if not _has_channels_in_front(before):
        return None
    original = network.by_name[node.name].inputs[0]
    per_channel = all(_is_per_channel(t, node.shape) for t in (node.operator.scale, node.operator.shift))
    return position if per_channel and len(network.consumers[original]) == 1 else None


def _has_channels_in_front(node: Node) -> bool:
    """Convolutions have, and linear layers of a single row."""
    return isinstance(node.operator, op.Conv2d) or (isinstance(node.operator, op.Linear) and len(node.shape) == 1)


def _is_per_channel(tensor: Tensor, shape: tuple[int, ...]) -> bool:
    padded = (1,) * (len(shape) - tensor.dim()) + tuple(tensor.shape)
    return all(size == 1 for size in padded[1:])


def _merge(before: op.Operator, scaling: op.Operator) -> op.Operator:
    assert isinstance(before, (op.Conv2d, op.Linear)) and isinstance(scaling, op.Scale)
    channels = len(before.weight)
    scale = scaling.scale.double().reshape(-1).expand(channels)
    shift = scaling.shift.double().reshape(-1).expand(channels)
    weight = before.weight.double() * scale.view(-1, *(1,) * (before.weight.dim() - 1))
    bias = torch.addcmul(shift, before.bias.double(), scale)
    return dataclasses.replace(before, weight=weight.to(before.weight.dtype), bias=bias.to(before.bias.dtype))
