"""Picked numbers, by hand; what holds for all affine operators is in `test_affine`."""

from __future__ import annotations

import pytest
import torch

from abcrown_graft.network import operators as op

pytestmark = pytest.mark.usefixtures("one_thread")


def test_numbers_are_counted_from_one_and_zero_is_a_zero():
    x = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
    found = op.Select(torch.tensor([4, 0, 1, 1])).value(x)
    assert found.tolist() == [[4, 0, 1, 1], [8, 0, 5, 5]]


def test_a_number_that_is_read_often_collects_a_rounding_each_time():
    """Going backward, the coefficients of all its copies are added up."""
    often, twice = torch.ones(1000, dtype=torch.long), torch.tensor([2, 0, 2, 1])
    assert op.Select(often).longest_sum(((3,),), (1000,)) == 1000
    assert op.Select(twice).longest_sum(((3,),), (4,)) == 2


def test_only_numbers_that_are_read_twice_are_copies():
    assert op.Select(torch.tensor([2, 0, 2, 1])).copies and not op.Select(torch.tensor([2, 0, 0, 1])).copies
