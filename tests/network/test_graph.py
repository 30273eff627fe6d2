"""The graph: names, sites, precision."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from abcrown_graft.errors import ModelError
from abcrown_graft.network import operators as op
from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.graph import Network, Node

pytestmark = pytest.mark.usefixtures("one_thread")

MASK = torch.tensor([True, False, True])


def network() -> Network:
    """`x -> linear -> grafted -> leaky -> sum of linear and leaky`."""
    torch.manual_seed(0)
    return Network(
        (
            Node("input", op.Input(), (), (2,)),
            Node("fc", op.Linear(torch.randn(3, 2), torch.randn(3)), ("input",), (3,)),
            Node("graft", op.GraftedReLU(MASK, torch.rand(3), torch.rand(3)), ("fc",), (3,)),
            Node("leaky", op.LeakyReLU(0.1), ("graft",), (3,)),
            Node("sum", op.Add(), ("fc", "leaky"), (3,)),
            Node("out", op.ReLU(), ("sum",), (3,)),
        )
    )


def test_first_is_the_input_and_last_the_output():
    assert (network().input.name, network().output.name) == ("input", "out")


def test_sites_are_the_activations_that_can_be_grafted_in_forward_order():
    assert dict(network().sites) == {"graft": (3,), "out": (3,)}
    assert [node.name for node in network().activations] == ["graft", "leaky", "out"]


def test_consumers_are_the_readers_of_a_node():
    readers = {name: [node.name for node in nodes] for name, nodes in network().consumers.items()}
    assert readers["fc"] == ["graft", "sum"] and readers["out"] == []


def test_grafted_mask_of_a_plain_site_is_empty():
    assert torch.equal(network().grafted_mask("graft"), MASK)
    assert network().grafted_mask("out").tolist() == [False] * 3


def test_to_changes_the_precision_and_leaves_masks_boolean():
    double = network().to(dtype=torch.float64)
    assert (network().dtype, double.dtype) == (torch.float32, torch.float64)
    grafted = double.by_name["graft"].operator
    assert (grafted.mask.dtype, grafted.slope.dtype) == (torch.bool, torch.float64)
    x = torch.rand(4, 2)
    torch.testing.assert_close(evaluate(double, x.double()).float(), evaluate(network(), x))


def test_a_network_without_constants_has_the_defaults():
    bare = Network((Node("input", op.Input(), (), (2,)),))
    assert (bare.device, bare.dtype) == (torch.device("cpu"), torch.float32)


def test_map_tensors_reaches_every_constant_once():
    seen: list[torch.Size] = []
    network().map_tensors(lambda t: seen.append(t.shape) or t)
    assert seen == [(3, 2), (3,), (3,), (3,), (3,)]


def test_two_nodes_of_one_name_are_refused():
    nodes = network().nodes
    with pytest.raises(ModelError, match="two operators of the network are called 'fc'"):
        Network((*nodes[:2], dataclasses.replace(nodes[2], name="fc")))
