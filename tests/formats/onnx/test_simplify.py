"""Fewer nodes, the same function."""

from __future__ import annotations

import torch
from torch import Tensor

from abcrown_graft.formats.onnx.simplify import merge_scales, without_dead_ends
from abcrown_graft.network import operators as op
from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.graph import Network, Node

SHAPE = (2, 3)


def scale(seed: int, *shape: int) -> op.Scale:
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return op.Scale(first, second)


def network(*nodes: tuple[str, op.Operator, tuple[str, ...]]) -> Network:
    return Network(
        (Node("x", op.Input(), (), SHAPE), *(Node(name, operator, inputs, SHAPE) for name, operator, inputs in nodes))
    )


def values(of: Network) -> Tensor:
    return evaluate(of, torch.linspace(-1, 1, 12, dtype=torch.float64).view(2, *SHAPE))


def test_a_chain_of_scalings_of_different_shapes_becomes_one():
    chain = network(("a", scale(1), ("x",)), ("b", scale(2, 2, 1), ("a",)), ("c", scale(3, 3), ("b",)))
    merged = merge_scales(chain)
    assert [node.name for node in merged.nodes] == ["x", "c"]
    torch.testing.assert_close(values(merged), values(chain))


def test_a_scaling_that_something_else_reads_stays():
    chain = network(("a", scale(1), ("x",)), ("b", scale(2), ("a",)), ("s", op.Add(), ("a", "b")))
    assert merge_scales(chain).nodes == chain.nodes


def test_scalings_per_channel_stay_per_channel():
    merged = merge_scales(network(("a", scale(1, 2, 1), ("x",)), ("b", scale(2), ("a",))))
    operator = merged.output.operator
    assert isinstance(operator, op.Scale)
    assert (operator.scale.shape, operator.shift.shape) == ((2, 1), (2, 1))


def test_dead_ends_are_left_out():
    chain = network(("a", op.ReLU(), ("x",)), ("dead", op.ReLU(), ("a",)), ("b", scale(1), ("a",)))
    assert [node.name for node in without_dead_ends(chain).nodes] == ["x", "a", "b"]
