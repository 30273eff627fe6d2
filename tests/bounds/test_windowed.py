"""The pass on receptive fields against the pass on whole maps, where neurons are grafted too."""

from __future__ import annotations

import pytest
import torch
from sample_networks import assembled, grafted, random_box

from abcrown_graft.bounds.backward import lower_bound
from abcrown_graft.bounds.propagate import bound_network
from abcrown_graft.bounds.windowed import bound_neurons
from abcrown_graft.bounds.windows import is_windowed
from abcrown_graft.network.trace import from_module

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("fraction", [0.5, 1.0])
def test_windows_and_whole_maps_meet_the_same_lines_of_grafts(fraction):
    torch.manual_seed(0)
    shape = (2, 5, 5)
    network = from_module(grafted(assembled(["conv", "residual", "pool"], shape), shape, fraction), shape)
    box = random_box(shape, 2, 0.3)
    bounds = bound_network(network, box)
    checked = 0
    for node in network.activations[1:]:
        name, size = node.inputs[0], torch.Size(node.shape).numel()
        assert is_windowed(network, name)
        image, neuron = torch.arange(2).repeat_interleave(size), torch.arange(size).repeat(2)
        unit = torch.eye(size, dtype=torch.float64).view(-1, *node.shape).expand(2, -1, *node.shape)
        for side in (1.0, -1.0):
            sign = torch.full((len(image),), side, dtype=torch.float64)
            found = bound_neurons(network, name, image, neuron, sign, bounds.relaxations, box)
            plain = lower_bound(network, name, side * unit, bounds.relaxations, box)
            torch.testing.assert_close(found.view(2, -1), plain)
            checked += 1
    assert checked >= 4
