"""The same network in fewer nodes."""

from __future__ import annotations

import dataclasses

import torch

from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network, Node


def without_dead_ends(network: Network) -> Network:
    """Only the nodes that the output depends on, and the input."""
    needed = {network.input.name, network.output.name}
    for node in reversed(network.nodes):
        needed.update(node.inputs if node.name in needed else ())
    return Network(tuple(node for node in network.nodes if node.name in needed))


def merge_scales(network: Network) -> Network:
    """Consecutive scalings as one, where nothing else reads what is between them."""
    nodes: dict[str, Node] = {}
    for node in network.nodes:
        before = nodes.get(node.inputs[0]) if isinstance(node.operator, op.Scale) else None
        if before is not None and isinstance(before.operator, op.Scale) and len(network.consumers[before.name]) == 1:
            merged = _composed(before.operator, node.operator)
            node = dataclasses.replace(node, operator=merged, inputs=before.inputs)
            del nodes[before.name]
        nodes[node.name] = node
    return Network(tuple(nodes.values()))


def _composed(first: op.Operator, second: op.Operator) -> op.Scale:
    """`second(first(x))`."""
    assert isinstance(first, op.Scale) and isinstance(second, op.Scale)
    shift = torch.addcmul(*torch.broadcast_tensors(second.shift, second.scale, first.shift))
    return op.Scale(second.scale * first.scale, shift)
