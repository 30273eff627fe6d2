"""Concatenation, by hand; what holds for all affine operators is in `test_affine`."""

from __future__ import annotations

import pytest
import torch

from abcrown_graft.network import operators as op

pytestmark = pytest.mark.usefixtures("one_thread")


def test_unequal_parts_are_split_where_they_meet():
    (first, second), constant = op.Concat(0).pull_back(torch.arange(6.0).view(1, 3, 2), ((1, 2), (2, 2)))
    assert (first.tolist(), second.tolist(), constant) == ([[[0, 1]]], [[[2, 3], [4, 5]]], 0)


def test_windows_go_through_concatenated_channels_only():
    assert op.Concat(0).takes_windows((2, 3, 3)) and not op.Concat(1).takes_windows((2, 3, 3))
