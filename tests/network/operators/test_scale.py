"""Scaling, by hand; what holds for all affine operators is in `test_affine`."""

from __future__ import annotations

import pytest
import torch

from abcrown_graft.geometry.box import Box
from abcrown_graft.network import operators as op

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_negative_scale_turns_a_box_around():
    found = op.Scale(torch.tensor([-2.0, 1.0]), torch.tensor(1.0)).interval(Box(torch.zeros(1, 2), torch.ones(1, 2)))
    assert (found.lower.tolist(), found.upper.tolist()) == ([[-1, 1]], [[1, 2]])


@pytest.mark.parametrize(("shape", "fits"), [((2, 1, 1), True), ((), True), ((3,), False), ((2, 3, 3), False)])
def test_windows_go_through_scalings_of_channels(shape: tuple[int, ...], fits: bool):
    assert op.Scale(torch.ones(shape), torch.ones(())).takes_windows((2, 3, 3)) is fits
