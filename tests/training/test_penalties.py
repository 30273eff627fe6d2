"""The terms that graft tuning can add: hand-computed values, gradients, and what they do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from abcrown_graft.nn.activation import GraftedReLU
from abcrown_graft.training.penalties import relu_instability, slope_distance


def test_slope_distance_counts_grafted_neurons_alone() -> None:
    mask = torch.tensor([True, False, True])
    model = nn.Sequential(GraftedReLU(mask, slope=torch.tensor([0.5, 9.0, -1.0])))
    found = slope_distance(model, 0.25)
    assert found.item() == pytest.approx(0.5 * (0.25**2 + 1.25**2))
    found.backward()
    torch.testing.assert_close(model[0].slope.grad, torch.tensor([0.25, 0.0, -1.25]))


def one_layer(mask: Tensor | None) -> nn.Module:
    """Pre-activations x₁ − x₂, x₁ + 1, x₂ − 3 over [0.4, 0.6]²."""
    layer = nn.Linear(2, 3)
    layer.weight.data = torch.tensor([[1.0, -1.0], [1.0, 0.0], [0.0, 1.0]])
    layer.bias.data = torch.tensor([0.0, 1.0, -3.0])
    return nn.Sequential(layer, nn.ReLU() if mask is None else GraftedReLU(mask), nn.Linear(3, 2))


PRODUCTS = torch.tensor([-0.04, 1.4 * 1.6, 2.6 * 2.4])


@pytest.mark.parametrize("mask", [None, [True, False, False], [False, True, True]])
def test_instability_is_the_mean_over_neurons_that_are_not_grafted(mask: list[bool] | None) -> None:
    kept = torch.ones(3, dtype=torch.bool) if mask is None else ~torch.tensor(mask)
    model = one_layer(None if mask is None else torch.tensor(mask))
    found = relu_instability(model, torch.full((2, 2), 0.5), 0.1)
    assert found.item() == pytest.approx(-torch.tanh(1 + PRODUCTS[kept]).mean().item(), abs=1e-6)


def test_a_layer_without_relus_counts_nothing() -> None:
    model = one_layer(torch.ones(3, dtype=torch.bool))
    assert relu_instability(model, torch.full((2, 2), 0.5), 0.1).item() == 0.0


def test_a_step_against_the_instability_s_gradient_lowers_it() -> None:
    model, images = one_layer(None), torch.full((2, 2), 0.5)
    before = relu_instability(model, images, 0.1)
    before.backward()
    with torch.no_grad():
        for parameter in model[0].parameters():
            parameter -= parameter.grad
    assert relu_instability(model, images, 0.1) < before - 2e-5
