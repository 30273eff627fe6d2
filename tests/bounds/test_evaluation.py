"""The bound on the rounding of an evaluation holds, and is narrow enough to tell functions apart."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from sample_networks import Sample, samples
from torch import nn

from abcrown_graft.bounds.evaluation import unexplained, value_and_rounding
from abcrown_graft.network import operators as op
from abcrown_graft.network.trace import as_executed, from_module

pytestmark = pytest.mark.usefixtures("one_thread")

UNIT = torch.finfo(torch.float32).eps / 2


def test_of_one_product_and_one_sum_by_hand():
    """y = 3 x - 5 has a product and a sum, each off by u times the sum of absolute terms at most."""
    layer = nn.Linear(1, 1).double()
    layer.weight.data[:], layer.bias.data[:] = 3, -5
    value, units = value_and_rounding(from_module(nn.Sequential(layer), (1,)), torch.tensor([[2.0]]).double())
    assert value.tolist() == [[1]] and units.tolist() == [[2 * (6 + 5)]]


def test_later_layers_magnify_by_their_slopes_and_paths_cancel():
    """Through weights 1 and -1, two equal neurons cancel exactly, and so do the slopes, not the roundings."""
    first, last = nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False)
    first.weight.data[:], last.weight.data[:] = 1, torch.tensor([[10.0, -10.0]])
    _, units = value_and_rounding(from_module(nn.Sequential(first, nn.ReLU(), last).double(), (1,)), torch.ones(1, 1))
    assert units.tolist() == [[2 * 10 * 2 + 20 * 3]]


def test_a_neuron_that_is_off_passes_nothing_on():
    module = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1, bias=False)).double()
    module[0].weight.data[:], module[0].bias.data[:] = 1e6, -1e7
    _, units = value_and_rounding(from_module(module, (1,)), torch.zeros(1, 1))
    assert units.tolist() == [[0]]


def test_the_largest_difference_that_is_not_allowed_is_told_and_nan_is_none_that_is():
    found, expected = torch.tensor([[1.0, 7.0], [3.5, 4.0]]), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    allowed = torch.tensor([[0.0, 5.0], [0.25, 0.0]])
    assert unexplained(found, expected, allowed) == (0.5, 0.25)
    assert unexplained(found, expected, torch.full((2, 2), 5.0)) is None
    found[0, 0] = torch.nan
    assert str(unexplained(found, expected, torch.full((2, 2), 5.0))) == "(nan, 5.0)"
    assert unexplained(expected[:0], expected[:0], expected[:0]) is None


@settings(max_examples=20)
@given(samples())
def test_float32_stays_within_it(found: Sample):
    module = copy.deepcopy(found.module).float()
    points = found.box.upper.float()
    value, units = value_and_rounding(as_executed(copy.deepcopy(module).double(), points.shape[1:]), points)
    torch.testing.assert_close(value, copy.deepcopy(module).double()(points.double()).detach())
    off = (module(points).detach().double() - value).abs()
    assert bool((off <= units * UNIT + torch.finfo(torch.float32).tiny).all())
    assert bool((units * UNIT < 1e-2 * (1 + value.abs().max())).all())


@pytest.mark.parametrize("batch", [1, 7])
def test_images_that_repeat_one_pixel_round_alike_and_stay_within_it(batch: int):
    """Equal patches round equally: the roundings are not independent, and the bound holds all the same."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 36, 4)
    )
    for value in (0.1, 0.3, 1 / 3):
        x = torch.full((batch, 3, 8, 8), value)
        expected, units = value_and_rounding(as_executed(module.double(), (3, 8, 8)), x)
        off = (module.float()(x).double() - expected).abs()
        assert bool((off <= units * UNIT).all())


def test_a_mean_that_cancels_is_counted_as_it_is_executed():
    """Batch normalisation subtracts a mean of a million; folded into the layer before, nothing of it shows."""
    module = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1)).double().eval()
    module[0].bias.data[:] = module[1].running_mean[:] = 1e6
    x = torch.zeros(1, 1)
    folded, stepwise = (value_and_rounding(make(module, (1,)), x)[1].item() for make in (from_module, as_executed))
    assert folded < 100 and stepwise > 1e6


@pytest.mark.parametrize(
    "operator, count",
    [
        (op.Linear(torch.zeros(2, 5), torch.zeros(2)), 6),
        (op.Conv2d(torch.zeros(2, 3, 2, 2), torch.zeros(2), (1, 1), (0, 0), (1, 1), 1), 13),
        (op.AvgPool2d((2, 3), (2, 3), (0, 0)), 7),
        (op.Add(), 1),
        (op.ReLU(), 0),
        (op.Reshape((2,)), 0),
    ],
)
def test_a_sum_of_n_products_and_a_bias_is_rounded_n_plus_once(operator: op.Operator, count: int):
    assert operator.roundings == count
