"""Tightening: whatever way the rows take, the neurons left unstable and their bounds are the same."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from oracles import assert_sound, pushing_points, random_points
from sample_networks import Sample, assembled, random_box, samples
from torch import nn

from abcrown_graft.bounds import sparse, tighten
from abcrown_graft.bounds.propagate import NetworkBounds, bound_network
from abcrown_graft.geometry.box import Box
from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network, Node
from abcrown_graft.network.trace import from_module

pytestmark = pytest.mark.usefixtures("one_thread")

WAYS = {
    "windows": (1.0, 2**23, 0),
    "live neurons": (0.0, 2**23, 0),
    "live neurons of many sides": (0.0, 2**23, 20),
    "whole maps": (0.0, 0, 0),
}
"""Share of a map up to which windows are used, size of matrices, and sides that are few."""


def bounded(way: str, network: Network, box: Box, rigorous: bool = False) -> NetworkBounds:
    share, size, few = WAYS[way]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tighten, "SMALL_WINDOW", share)
        patch.setattr(tighten, "FEW_SIDES", few)
        patch.setattr(sparse, "MAX_ENTRIES", size)
        if way == "whole maps":
            patch.setattr(tighten, "is_windowed", lambda *_: False)
        return bound_network(network, box, rigorous=rigorous)


@pytest.mark.parametrize("way", WAYS)
@given(sample=samples())
@settings(max_examples=15)
def test_every_way_is_sound_in_real_arithmetic(way: str, sample: Sample):
    bounds = bounded(way, sample.network, sample.box, rigorous=True)
    assert_sound(bounds, random_points(sample.box, 300))
    assert_sound(bounds, pushing_points(sample.network, sample.box))


def test_every_way_finds_the_same_bounds_of_unstable_neurons():
    torch.manual_seed(1)
    shape = (2, 6, 6)
    network = from_module(assembled(["conv", "strided", "pool", "conv"], shape), shape)
    box = random_box(shape, 3, 0.2)
    first, *others = (bounded(way, network, box) for way in WAYS)
    assert sum(int(first.unstable(site).sum()) for site in network.sites) > 50
    for site in network.sites:
        left = first.unstable(site)
        for other in others:
            assert torch.equal(left, other.unstable(site))
            torch.testing.assert_close(other.pre_activation[site].lower[left], first.pre_activation[site].lower[left])
            torch.testing.assert_close(other.pre_activation[site].upper[left], first.pre_activation[site].upper[left])


def test_rows_in_chunks_are_the_same(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    network = from_module(assembled(["conv", "conv"], (1, 4, 4)), (1, 4, 4))
    box = random_box((1, 4, 4), 2, 0.5)
    whole = [bounded(way, network, box) for way in WAYS]
    monkeypatch.setattr(tighten, "CHUNK_ELEMENTS", {"cpu": 1})
    for way, expected in zip(WAYS, whole, strict=True):
        found = bounded(way, network, box)
        for site in network.sites:
            torch.testing.assert_close(found.pre_activation[site].lower, expected.pre_activation[site].lower)


@pytest.mark.parametrize("blocks", [["linear"] * 3, ["linear", "doubled", "without bias"]])
@pytest.mark.parametrize("chunk", [1, 2**8, 2**18])
def test_many_boxes_are_bounded_as_each_alone(monkeypatch: pytest.MonkeyPatch, blocks: list[str], chunk: int):
    """Boxes of few and of many unstable neurons, batch by batch."""
    torch.manual_seed(2)
    network = from_module(assembled(blocks, (4,)), (4,))
    radius = torch.tensor([0.01, 2.0, 0.0, 0.5, 1.0, 0.1], dtype=torch.float64).view(6, 1)
    centre = torch.randn(6, 4, dtype=torch.float64)
    box = Box(centre - radius, centre + radius)
    monkeypatch.setattr(tighten, "CHUNK_ELEMENTS", {"cpu": chunk})
    together = bound_network(network, box, rigorous=True)
    assert len({int(n) for n in sum(together.unstable(s).flatten(1).sum(1) for s in together.pre_activation)}) > 3
    assert_sound(together, random_points(box, 300))
    for k in range(6):
        alone = bounded("whole maps", network, box[k : k + 1], rigorous=True)
        for site, found in alone.pre_activation.items():
            left = alone.unstable(site)[0]
            assert torch.equal(left, together.unstable(site)[k])
            torch.testing.assert_close(together.pre_activation[site].lower[k][left], found.lower[0][left])
            torch.testing.assert_close(together.pre_activation[site].upper[k][left], found.upper[0][left])


def test_boxes_of_small_networks_are_bounded_batch_by_batch(monkeypatch: pytest.MonkeyPatch):
    network = from_module(assembled(["linear"] * 2, (4,)), (4,))
    monkeypatch.setattr(tighten, "ImageBounds", lambda *_: pytest.fail("one by one"))
    bound_network(network, random_box((4,), 4, 1.0))


def test_an_inactive_neuron_of_a_leaky_activation_is_bounded_below_too():
    """relu(x + 2) - relu(x + 2) - 1 = -1 on [-1, 1]; intervals say [-3, 1]."""
    for last, lower in ((nn.ReLU(), -3), (nn.LeakyReLU(0.5), -1)):
        module = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1), last).double()
        with torch.no_grad():
            for parameter, values in zip(module.parameters(), ([1, 1], [2, 2], [1, -1], [-1]), strict=True):
                parameter.copy_(torch.tensor(values).view(parameter.shape))
        one = torch.ones(1, 1, dtype=torch.float64)
        *_, box = bound_network(from_module(module, (1,)), Box(-one, one)).pre_activation.values()
        assert (box.lower.item(), box.upper.item()) == (lower, -1)


def test_copies_of_one_number_are_not_bounded_as_if_they_were_independent():
    """relu(x - x) for x in [-1, 1], where interval arithmetic says [-2, 2]."""
    nodes = (
        Node("x", op.Input(), (), (1,)),
        Node("copies", op.Select(torch.tensor([1, 1])), ("x",), (2,)),
        Node("difference", op.Linear(torch.tensor([[1.0, -1.0]]), torch.zeros(1)), ("copies",), (1,)),
        Node("relu", op.ReLU(), ("difference",), (1,)),
    )
    one = torch.ones(1, 1)
    z = bound_network(Network(nodes), Box(-one, one)).pre_activation["relu"]
    assert z.upper.item() == 0


def joined(last: op.Operator) -> Network:
    """`last` of the input next to itself."""
    nodes = (
        Node("x", op.Input(), (), (2,)),
        Node("twice", op.Concat(0), ("x", "x"), (4,)),
        Node("last", last, ("twice",), (3,)),
    )
    return Network(nodes)


def test_intervals_are_exact_up_to_the_first_layer_that_mixes_independent_numbers():
    mixing = op.Linear(torch.ones(3, 4), torch.zeros(3))
    picking = op.Select(torch.tensor([1, 2, 3]))
    assert tighten._is_exact(joined(picking), "last"), "nothing is added up"
    assert not tighten._is_exact(joined(mixing), "last"), "a number and its copy are"
    layers = from_module(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3)), (2,))
    assert [tighten._is_exact(layers, node.name) for node in layers.nodes] == [True, True, False]
