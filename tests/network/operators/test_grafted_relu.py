"""The grafted ReLU, by hand; what holds for all activations is in `test_activation`."""

from __future__ import annotations

import pytest
import torch

from abcrown_graft.geometry.box import Box
from abcrown_graft.network import operators as op

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_falling_line_turns_a_box_around():
    operator = op.GraftedReLU(torch.tensor([True, False]), torch.tensor([-2.0, 9.0]), torch.tensor([1.0, 9.0]))
    found = operator.interval(Box(torch.tensor([[-1.0, -1.0]]), torch.tensor([[3.0, 3.0]])))
    assert (found.lower.tolist(), found.upper.tolist()) == ([[-5, 0]], [[3, 3]])


def test_the_magnitude_is_that_of_the_line():
    """|a z + b| where grafted, |z| elsewhere, at most, whatever the signs of a and b."""
    slope, intercept = torch.tensor([-0.4, 0.4, -0.4, 0.4]), torch.tensor([0.1, -0.1, -0.1, 0.1])
    operator = op.GraftedReLU(torch.tensor([True, True, True, False]), slope, intercept)
    magnitudes = operator.magnitude(torch.tensor([[2.0, 2.0, 2.0, 2.0]]))
    torch.testing.assert_close(magnitudes, torch.tensor([[0.9, 0.9, 0.9, 2.0]]))


def test_it_was_a_relu():
    assert isinstance(op.GraftedReLU(torch.tensor([True]), torch.ones(1), torch.ones(1)).ungrafted(), op.ReLU)
    leaky = op.LeakyReLU(0.1)
    assert leaky.ungrafted() is leaky
