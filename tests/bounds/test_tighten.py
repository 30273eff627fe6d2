"""Tightening: whatever way the rows take, the neurons left unstable and their bounds are the same."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from oracles import assert_sound, pushing_points, random_points
from sample_networks import Sample, assembled, random_box, samples
from torch import nn

from abcrown_graft.bounds import sparse, tighten
from abcrown_graft.bounds.box import Box
from abcrown_graft.bounds.propagate import NetworkBounds, bound_network
from abcrown_graft.network.graph import Network
from abcrown_graft.network.trace import from_module

pytestmark = pytest.mark.usefixtures("one_thread")

WAYS = {"windows": (1.0, 2**23), "live neurons": (0.0, 2**23), "whole maps": (0.0, 0)}
"""Share of a map up to which windows are used, and size of matrices."""


def bounded(way: str, network: Network, box: Box, rigorous: bool = False) -> NetworkBounds:
    share, size = WAYS[way]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tighten, "SMALL_WINDOW", share)
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
    first, second, third = (bounded(way, network, box) for way in WAYS)
    assert sum(int(first.unstable(site).sum()) for site in network.sites) > 50
    for site in network.sites:
        left = first.unstable(site)
        assert torch.equal(left, second.unstable(site)) and torch.equal(left, third.unstable(site))
        for other in (second, third):
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
