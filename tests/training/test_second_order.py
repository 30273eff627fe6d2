"""The replaced convolution: the same values and derivatives as torch's own, in every geometry and phase."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abcrown_graft.training.second_order import input_gradient_first

GEOMETRIES = {
    "plain": dict(kernel_size=3),
    "strided": dict(kernel_size=4, stride=2, padding=1),
    "uneven": dict(kernel_size=(3, 2), stride=(2, 1), padding=(1, 0)),
    "dilated": dict(kernel_size=2, dilation=2),
    "grouped": dict(kernel_size=3, groups=2),
    "without bias": dict(kernel_size=3, bias=False),
    "same": dict(kernel_size=3, padding="same"),
}


def network(**geometry: object) -> nn.Module:
    """Two convolutions, the second of that geometry, and something smooth so that every derivative counts."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = (nn.Conv2d(2, 4, 3, padding=1), nn.Softplus(), nn.Conv2d(4, 6, **geometry), nn.Softplus())
        return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3)).double()


def point(seed: int = 1) -> Tensor:
    return torch.rand(5, 2, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def squared_gradient(model: nn.Module, x: Tensor) -> Tensor:
    """A function of the input gradient and of the logits."""
    logits = model(x)
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, torch.arange(5) % 3), x, create_graph=True)
    return (gradient * torch.linspace(0, 1, 8)).square().sum() + gradient[0].sum()


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_values_and_derivatives_are_torch_s(geometry: str) -> None:
    model = network(**GEOMETRIES[geometry])
    model(point())
    twin = copy.deepcopy(model)
    expected = squared_gradient(twin, point().requires_grad_())
    expected.backward()
    x = point().requires_grad_()
    with input_gradient_first(x):
        found = squared_gradient(model, x)
    found.backward()
    torch.testing.assert_close(found, expected)
    for (name, parameter), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, msg=f"gradient of {name}")
    assert all(parameter.grad.abs().max() > 1e-6 for parameter in model[0].parameters())


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_parameters_before_the_first_convolution_learn_too() -> None:
    """The layer in front has a parameter: its share must not be left out with the point's."""
    model = nn.Sequential(nn.Conv2d(2, 2, 1, padding="same"), network(kernel_size=3)).double()
    model(point())
    twin = copy.deepcopy(model)
    squared_gradient(twin, point().requires_grad_()).backward()
    x = point().requires_grad_()
    with input_gradient_first(x):
        found = squared_gradient(model, x)
    found.backward()
    torch.testing.assert_close(model[0].weight.grad, twin[0].weight.grad)


def test_outside_the_context_convolutions_are_torch_s_again() -> None:
    layer, x = nn.Conv2d(2, 4, 3), torch.rand(1, 2, 5, 5).requires_grad_()
    with input_gradient_first(x):
        inside = layer(x).grad_fn.name()
    assert "Convolution" in inside and "mkldnn" not in inside.lower()
    assert layer(x).grad_fn.name() == "ConvolutionBackward0" != inside


def test_mixed_precision_runs_the_convolution_in_bfloat16() -> None:
    layer, x = nn.Conv2d(2, 4, 3), torch.rand(1, 2, 5, 5).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        expected = layer(x)
        with input_gradient_first(x):
            found = layer(x)
    assert found.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
