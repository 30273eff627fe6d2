"""The convolution, by hand; what holds for all affine operators is in `test_affine`."""

from __future__ import annotations

import pytest
import torch

from abcrown_graft.network import operators as op

pytestmark = pytest.mark.usefixtures("one_thread")


def test_zero_weights_take_no_room_in_the_matrix():
    weight = torch.tensor([[0.0, 2.0], [0.0, 0.0]]).view(2, 2, 1, 1)
    layer = op.Conv2d(weight, torch.zeros(2), (1, 1), (0, 0), (1, 1), 1)
    (matrix,) = layer.matrices(((2, 1, 1),), torch.float32)
    assert matrix.nnz == 1 and matrix.toarray().tolist() == [[0, 2], [0, 0]]


def test_each_output_is_a_sum_of_the_numbers_that_the_kernel_reads():
    assert op.Conv2d(torch.ones(4, 2, 3, 3), torch.ones(4), (1, 1), (0, 0), (1, 1), 2).fan_in == 18


def test_large_windows_are_convolved_and_small_ones_multiplied(monkeypatch: pytest.MonkeyPatch):
    """With the same result."""
    layer = op.Conv2d(torch.randn(3, 2, 3, 2).double(), torch.zeros(3).double(), (2, 1), (1, 0), (1, 2), 1)
    values = torch.randn(5, 3, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(layer._transposed(values), layer.convolved(values))
