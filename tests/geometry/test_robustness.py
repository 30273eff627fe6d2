from __future__ import annotations

import pytest
import torch

from abcrown_graft.geometry.robustness import linf_box, robustness_rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_box_is_clipped_to_valid_pixels(dtype):
    images = torch.tensor([[0.0, 0.05, 0.5, 0.95, 1.0]], dtype=dtype)
    box = linf_box(images, 0.1)
    assert box.lower.dtype == box.upper.dtype == dtype
    torch.testing.assert_close(box.lower, torch.tensor([[0.0, 0.0, 0.4, 0.85, 0.9]], dtype=dtype))
    torch.testing.assert_close(box.upper, torch.tensor([[0.1, 0.15, 0.6, 1.0, 1.0]], dtype=dtype))
    assert float(box.lower.min()) == 0.0 and float(box.upper.max()) == 1.0


def test_a_box_of_radius_zero_is_the_image():
    images = torch.rand(3, 1, 2, 2)
    box = linf_box(images, 0.0)
    assert torch.equal(box.lower, images) and torch.equal(box.upper, images)


def test_rows_by_hand():
    rows = robustness_rows(torch.tensor([1, 0]), 3, torch.float64)
    assert rows.dtype == torch.float64
    assert rows.tolist() == [[[-1, 1, 0], [0, 1, -1]], [[1, -1, 0], [1, 0, -1]]]


@pytest.mark.parametrize("outputs", [2, 10])
def test_rows_are_the_differences_to_every_other_class(outputs):
    torch.manual_seed(0)
    labels, y = torch.arange(outputs), torch.randn(outputs, outputs)
    margins = (robustness_rows(labels, outputs, torch.float32) @ y.unsqueeze(2)).squeeze(2)
    assert margins.shape == (outputs, outputs - 1)
    for k in range(outputs):
        others = [j for j in range(outputs) if j != k]
        torch.testing.assert_close(margins[k], y[k, k] - y[k, others])
