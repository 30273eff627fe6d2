"""The linear layer, by hand; what holds for all affine operators is in `test_affine`."""

from __future__ import annotations

import pytest
import torch

from abcrown_graft.geometry.box import Box
from abcrown_graft.network import operators as op

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_box_is_mapped_by_the_signs_of_the_weights():
    operator = op.Linear(torch.tensor([[2.0, -3.0]]), torch.tensor([1.0]))
    found = operator.interval(Box(torch.tensor([[-1.0, 0.0]]), torch.tensor([[1.0, 2.0]])))
    assert (found.lower.item(), found.upper.item()) == (-7, 3)  # 2·(-1) - 3·2 + 1, 2·1 - 3·0 + 1


def test_the_sum_of_biases_over_all_rows_is_counted():
    layer = op.Linear(torch.ones(2, 3), torch.ones(2))
    assert layer.longest_sum(((3,),), (2,)) == 2 + 3
    assert layer.longest_sum(((100, 3),), (100, 2)) == 200 + 3


def test_a_scaling_of_several_rows_is_not_folded():
    """There the first axis counts rows, not outputs."""
    layer = op.Linear(torch.randn(3, 2), torch.randn(3))
    assert layer.scaled(torch.ones(3, 1), torch.ones(3, 1), (3, 3)) is None
    assert layer.scaled(torch.ones(3), torch.ones(3), (3,)) is not None


def test_each_output_is_a_sum_of_all_inputs():
    assert op.Linear(torch.ones(2, 3), torch.ones(2)).fan_in == 3
