"""Batched boxes."""

from __future__ import annotations

import torch

from abcrown_graft.geometry.box import Box


def box(lower: list[float], upper: list[float]) -> Box:
    return Box(torch.tensor([lower]), torch.tensor([upper]))


def test_clamp_moves_points_to_the_nearest_side():
    assert box([0, -1], [2, 3]).clamp(torch.tensor([-5.0, 0.5])).tolist() == [[0, 0.5]]


def test_unstable_means_zero_strictly_inside():
    z = box([-1, 0, -1, -2, 0, 1], [1, 1, 0, -1, 0, 2])
    assert z.unstable().tolist() == [[True, False, False, False, False, False]]


def test_unknown_ends_count_as_unstable():
    nan = float("nan")
    assert box([nan, -1, nan], [1, nan, nan]).unstable().all()


def test_indexing_picks_boxes_of_the_batch():
    boxes = Box(torch.arange(6.0).view(3, 2), torch.arange(6.0).view(3, 2) + 1)
    assert len(boxes) == 3
    assert boxes[torch.tensor([2, 0])].lower.tolist() == [[4, 5], [0, 1]]
    assert boxes[1:2].upper.tolist() == [[3, 4]]


def test_to_changes_the_precision_of_both_sides():
    double = box([0], [1]).to(dtype=torch.float64)
    assert double.lower.dtype == double.upper.dtype == torch.float64
