"""Which nodes are bounded on windows, and how large these become."""

from __future__ import annotations

import torch

from abcrown_graft.bounds.windows import is_windowed, largest_window
from abcrown_graft.network.trace import from_module


def network():
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(2, 3, 3, 2), torch.nn.Flatten(),
        torch.nn.Linear(3 * 9, 2),
    )  # fmt: skip
    return from_module(layers, (1, 7, 7))


def test_maps_are_windowed_as_far_as_all_before_them_are():
    found = network()
    assert [is_windowed(found, node.name) for node in found.nodes] == [True] * 4 + [False] * 2


def test_a_window_grows_by_every_kernel_up_to_its_map():
    found = network()
    sizes = [largest_window(found, node.name) for node in found.nodes[:4]]
    assert sizes == [1, 3 * 3, 3 * 3, 5 * 5]  # at the input; 2 * 3 * 3 at the first map of the last one
