"""The fused activation: values, derivatives and layouts against whole-tensor arithmetic."""

from __future__ import annotations

import pytest
import torch

from abcrown_graft.nn import fused
from abcrown_graft.nn.fused import grafted_relu

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPES = [(5, 6), (5, 2, 3, 4), (1, 3), (0, 3)]


def lines(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    mask = torch.rand(1, *shape[1:]) < 0.5
    slope = torch.where(mask, torch.randn(mask.shape), 1.0).to(dtype).requires_grad_()
    intercept = torch.where(mask, torch.randn(mask.shape), 0.0).to(dtype).requires_grad_()
    return slope, intercept, torch.where(mask, -torch.inf, 0.0).to(dtype)


def reference(z: torch.Tensor, slope: torch.Tensor, intercept: torch.Tensor, floor: torch.Tensor) -> torch.Tensor:
    return slope * torch.where(z > floor, z, 0.0) + intercept


def derivatives(function, z, slope, intercept, floor) -> list[torch.Tensor]:
    """Of first order, and of all of these by a further pass."""
    torch.manual_seed(1)
    y = function(z, slope, intercept, floor)
    weights = torch.randn_like(y).requires_grad_()
    first = torch.autograd.grad(y, (z, slope, intercept), weights, create_graph=True)
    again = sum((torch.randn_like(gradient) * gradient).sum() for gradient in first)
    return [y, *first, *torch.autograd.grad(again, (z, slope, weights))]


@pytest.fixture(params=[1, 64, fused.PIECE], ids="piece of {} bytes".format)
def piece(request, monkeypatch) -> None:
    monkeypatch.setattr(fused, "PIECE", request.param)


@pytest.mark.usefixtures("piece")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_both_derivatives_are_those_of_whole_tensors(shape: tuple[int, ...]):
    torch.manual_seed(0)
    z = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    arguments = (z, *lines(shape, torch.float64))
    torch.testing.assert_close(derivatives(grafted_relu, *arguments), derivatives(reference, *arguments))


@pytest.mark.usefixtures("piece")
def test_a_derivative_of_the_input_gradient_alone():
    """What GradAlign asks for: slopes learn from it, intercepts have no part in it."""
    torch.manual_seed(0)
    z = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    slope, intercept, floor = lines((4, 6), torch.float64)
    (by_z,) = torch.autograd.grad(grafted_relu(z, slope, intercept, floor).square().sum(), z, create_graph=True)
    (expected,) = torch.autograd.grad(reference(z, slope, intercept, floor).square().sum(), z, create_graph=True)
    found = torch.autograd.grad(by_z.square().sum(), (z, slope, intercept))
    torch.testing.assert_close(found, torch.autograd.grad(expected.square().sum(), (z, slope, intercept)))


def test_at_zero_a_relu_passes_nothing_on_and_a_line_everything():
    z = torch.zeros(2, 2, requires_grad=True)
    floor = torch.tensor([[0.0, -torch.inf]])
    slope, intercept = torch.tensor([[1.0, 0.4]]), torch.tensor([[0.0, 0.1]])
    y = grafted_relu(z, slope, intercept, floor)
    y.sum().backward()
    torch.testing.assert_close(y.detach(), torch.tensor([[0.0, 0.1]] * 2))
    torch.testing.assert_close(z.grad, torch.tensor([[0.0, 0.4]] * 2))


def test_nan_stays_nan():
    z = torch.tensor([[torch.nan, torch.nan]])
    y = grafted_relu(z, torch.ones(1, 2), torch.zeros(1, 2), torch.tensor([[0.0, -torch.inf]]))
    assert y.isnan().all()


def test_channels_last_stays_channels_last():
    torch.manual_seed(0)
    z = torch.randn(5, 2, 3, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    slope, intercept, floor = lines(tuple(z.shape), torch.float32)
    y = grafted_relu(z, slope, intercept, floor)
    (gradient,) = torch.autograd.grad(y.square().sum(), z)
    for tensor in (y, gradient):
        assert tensor.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, reference(z, slope, intercept, floor))


def test_sums_over_the_batch_are_made_in_float32(monkeypatch):
    """In bfloat16, 1 added a thousand times would end at 256."""
    monkeypatch.setattr(fused, "PIECE", 1)
    z = torch.ones(1000, 1, dtype=torch.bfloat16, requires_grad=True)
    one = torch.ones(1, 1, dtype=torch.bfloat16, requires_grad=True)
    y = grafted_relu(z, one, torch.zeros_like(one), torch.zeros_like(one))
    (by_slope,) = torch.autograd.grad(y.sum(), one)
    assert by_slope.item() == 1000
