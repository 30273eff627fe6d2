"""The way back, with functions that only remember which operators they met."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from abcrown_graft.bounds.reverse import pull_to_input
from abcrown_graft.errors import UnsupportedError
from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network, Node


class Paths(list):
    """Ways from the start; a sum has those of both."""

    def __add__(self, other: list) -> Paths:
        return Paths([*self, *other])


def residual(middle: op.Operator) -> Network:
    """`add(middle(x), x)` and something after it that the sum does not depend on."""
    return Network(
        (
            Node("x", op.Input(), (), (1,)),
            Node("m", middle, ("x",), (1,)),
            Node("sum", op.Add(), ("m", "x"), (1,)),
            Node("later", op.ReLU(), ("sum",), (1,)),
        )
    )


def paths(network: Network, start: str) -> tuple[Paths, Tensor]:
    """All ways back from a node; every activation counts 10, every affine operator 1."""

    def activation(site: str, found: Paths) -> tuple[Paths, float]:
        return Paths([f"{path} {site}" for path in found]), 10.0

    def affine(node: Node, operator: op.AffineOperator, found: Paths) -> tuple[list[Paths], float]:
        return [Paths([f"{path} {node.name}" for path in found]) for _ in node.inputs], 1.0

    return pull_to_input(network, start, Paths([">"]), torch.zeros(()), activation, affine)


def test_ways_that_part_meet_again():
    found, constant = paths(residual(op.ReLU()), "sum")
    assert sorted(found) == ["> sum", "> sum m"] and constant == 11


def test_functions_of_the_input_are_themselves():
    assert paths(residual(op.ReLU()), "x") == ([">"], 0)


def test_functions_are_thinned_at_activations_before_they_pass():
    met = []

    def thinned(site, pending, constant):
        met.append((site, sorted(pending)))
        return pending, constant

    pull_to_input(
        residual(op.ReLU()),
        "sum",
        Paths([">"]),
        torch.zeros(()),
        lambda site, found: (found, 0.0),
        lambda node, operator, found: ([found] * len(node.inputs), 0.0),
        thinned,
    )
    assert met == [("m", ["m", "x"])]


def test_an_operator_of_neither_kind_is_named():
    with pytest.raises(UnsupportedError, match="m: operator Input is neither an activation nor affine"):
        paths(residual(op.Input()), "sum")
