"""Interval arithmetic over a network."""

from __future__ import annotations

from abcrown_graft.geometry.box import Box
from abcrown_graft.network.graph import Network


def interval_boxes(network: Network, box: Box) -> dict[str, Box]:
    """Interval bounds of every node's output, by name."""
    boxes = {network.input.name: box}
    for node in network.nodes[1:]:
        boxes[node.name] = node.operator.interval(*(boxes[name] for name in node.inputs))
    return boxes
