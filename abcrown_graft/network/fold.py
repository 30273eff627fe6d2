"""Folds element-wise scalings (batch normalisation) into the operator before them, where that can take them in."""

from __future__ import annotations

import dataclasses

from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network, Node


def fold_scales(network: Network) -> Network:
    """The same function with every foldable `Scale` merged into its predecessor.

    A `Scale` is foldable if nothing else reads the node before it, and that node's operator has a rule for it.
    """
    nodes: dict[str, Node] = {}
    renamed: dict[str, str] = {}
    for node in network.nodes:
        read = node.inputs
        node = dataclasses.replace(node, inputs=tuple(renamed.get(name, name) for name in read))
        alone = len(read) == 1 and len(network.consumers[read[0]]) == 1
        merged = _merged(nodes[node.inputs[0]], node.operator) if alone else None
        if merged is None:
            nodes[node.name] = node
        else:
            nodes[merged.name] = merged
            renamed[node.name] = merged.name
    return Network(tuple(nodes.values()))


def _merged(before: Node, scaling: op.Operator) -> Node | None:
    if not isinstance(scaling, op.Scale) or not isinstance(before.operator, op.AffineOperator):
        return None
    operator = before.operator.scaled(scaling.scale, scaling.shift, before.shape)
    return None if operator is None else dataclasses.replace(before, operator=operator)
