"""Fitted lines against numpy's least squares and by their definition."""

from __future__ import annotations

import numpy
import pytest
import torch
from torch import Tensor, nn

from abcrown_graft.errors import DataError
from abcrown_graft.masks.fitting import fitted_lines
from abcrown_graft.network.forward import pre_activations
from abcrown_graft.network.trace import from_module
from abcrown_graft.nn.surgery import graft

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (2, 5, 5)


@pytest.fixture
def module() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 6), nn.ReLU(), nn.Linear(6, 2)
        ).double()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(23, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("batch_size", [1, 7, 23, 100])
def test_every_neuron_has_numpys_line(module: nn.Module, images: Tensor, batch_size: int) -> None:
    network = from_module(module, SHAPE)
    slopes, intercepts = fitted_lines(network, images, batch_size)
    _, inputs = pre_activations(network, images)
    assert slopes.keys() == intercepts.keys() == inputs.keys() == network.sites.keys()
    for site, z in inputs.items():
        assert slopes[site].shape == network.sites[site] == intercepts[site].shape
        lines = zip(z.flatten(1).T, slopes[site].flatten(), intercepts[site].flatten(), strict=True)
        for values, slope, intercept in lines:
            expected = numpy.polyfit(values.numpy(), values.relu().numpy(), 1)
            assert [slope.item(), intercept.item()] == pytest.approx(expected, abs=1e-9)


def test_stable_neurons_keep_what_they_do() -> None:
    """Always active: the identity. Never active: 0. Constant: its value."""
    weight = torch.tensor([[1.0], [1.0], [0.0], [0.0]], dtype=torch.float64)
    linear = nn.Linear(1, 4, dtype=torch.float64)
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(torch.tensor([1.0, -2.0, 0.25, -0.25]))
    slopes, intercepts = fitted_lines(from_module(nn.Sequential(linear, nn.ReLU()), (1,)), torch.rand(50, 1).double())
    assert slopes["1"].tolist() == pytest.approx([1, 0, 0, 0], abs=1e-9)
    assert intercepts["1"].tolist() == pytest.approx([0, 0, 0.25, 0], abs=1e-9)


def test_a_network_grafted_with_them_is_closer_than_with_the_papers(module: nn.Module, images: Tensor) -> None:
    network = from_module(module, SHAPE)
    masks = {site: torch.ones(shape, dtype=torch.bool) for site, shape in network.sites.items()}
    expected = module(images)
    fitted, given = graft(module, masks, *fitted_lines(network, images)), graft(module, masks)
    assert (fitted(images) - expected).square().mean() < 0.5 * (given(images) - expected).square().mean()


def test_no_images_and_infinite_values_are_refused(module: nn.Module, images: Tensor) -> None:
    network = from_module(module, SHAPE)
    with pytest.raises(DataError, match="at least one image"):
        fitted_lines(network, images[:0])
    with pytest.raises(DataError, match="NaN or infinite values at site '1'"):
        fitted_lines(network, images * torch.inf)
