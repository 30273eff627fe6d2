"""Interval arithmetic over a network; the rules of the operators have tests of their own."""

from __future__ import annotations

import torch

from abcrown_graft.bounds.interval import interval_boxes
from abcrown_graft.geometry.box import Box
from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network, Node


def test_every_node_has_its_box():
    """`x - relu(x)` for x in [-1, 2]: intervals do not know that both are of one x."""
    nodes = (
        Node("x", op.Input(), (), (1,)),
        Node("relu", op.ReLU(), ("x",), (1,)),
        Node("minus", op.Scale(torch.tensor(-1.0), torch.tensor(0.0)), ("relu",), (1,)),
        Node("sum", op.Add(), ("x", "minus"), (1,)),
    )
    found = interval_boxes(Network(nodes), Box(torch.tensor([[-1.0]]), torch.tensor([[2.0]])))
    ends = {name: (box.lower.item(), box.upper.item()) for name, box in found.items()}
    assert ends == {"x": (-1, 2), "relu": (0, 2), "minus": (-2, 0), "sum": (-3, 2)}
