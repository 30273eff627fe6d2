"""Normalisation in front of a graph."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from sample_networks import assembled, random_box
from torch import nn

from abcrown_graft.bounds.propagate import bound_network
from abcrown_graft.geometry.box import Box
from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.normalize import with_normalization
from abcrown_graft.network.trace import from_module
from abcrown_graft.nn.normalize import Normalize

pytestmark = pytest.mark.usefixtures("one_thread")

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
SHAPE = (3, 5, 5)


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(0)
    return assembled(["residual", "branches"], SHAPE).float()


@pytest.mark.parametrize(("mean", "std"), [(MEAN, STD), ((0.1307,), (0.3081,)), ((0.0,), (0.5,)), ((0.3,), (1.0,))])
def test_it_is_the_normalised_module(module: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]):
    network = with_normalization(from_module(module, SHAPE), torch.tensor(mean), torch.tensor(std))
    x = torch.rand(4, *SHAPE)
    torch.testing.assert_close(evaluate(network, x), module(Normalize(mean, std, 3)(x)))


def test_the_input_of_a_vector_network_is_normalised_too():
    fc = nn.Linear(2, 3)
    network = with_normalization(from_module(nn.Sequential(fc), (2,)), torch.tensor([0.5]), torch.tensor([2.0]))
    x = torch.rand(4, 2)
    torch.testing.assert_close(evaluate(network, x), fc((x - 0.5) / 2))


def test_sites_stay_and_the_plain_network_is_not_changed(module: nn.Module):
    plain = from_module(module, SHAPE)
    before = [(node.name, node.inputs) for node in plain.nodes]
    network = with_normalization(plain, torch.tensor(MEAN), torch.tensor(STD))
    assert network.sites == plain.sites
    assert [(node.name, node.inputs) for node in plain.nodes] == before


def test_mean_zero_and_deviation_one_change_nothing(module: nn.Module):
    plain = from_module(module, SHAPE)
    assert with_normalization(plain, torch.zeros(3), torch.ones(3)) is plain


def test_the_networks_precision_is_kept(module: nn.Module):
    network = with_normalization(from_module(module.double(), SHAPE), torch.tensor(MEAN), torch.tensor(STD))
    scale = network.by_name["normalize"].operator.scale
    assert scale.dtype == torch.float64
    assert scale.flatten()[0].item() == 1 / torch.tensor(STD[0]).double().item()


def test_bounds_pass_through(module: nn.Module):
    network = with_normalization(from_module(module.double(), SHAPE), torch.tensor(MEAN), torch.tensor(STD))
    box = random_box(SHAPE, 1, 0.1)
    output = bound_network(network, box).output
    value = evaluate(network, (box.lower + box.upper) / 2)
    assert (output.lower <= value).all() and (value <= output.upper).all()


def test_rigorous_bounds_hold_for_the_exact_quotients():
    """`1 / std` and `mean / std` are rounded to float64 when they become constants: the bounds account for that."""
    generator = torch.Generator().manual_seed(0)
    missed = 0
    for _ in range(100):
        mean, std, x = torch.rand(3, generator=generator).add(0.1).split(1)
        plain = from_module(nn.Sequential(nn.Linear(1, 1), nn.ReLU()).double(), (1,))
        weight, bias = plain.nodes[1].operator.weight.item(), plain.nodes[1].operator.bias.item()
        network = with_normalization(plain, mean, std)
        pixel, middle, width = (Fraction(value.item()) for value in (x, mean, std))
        exact = Fraction(weight) * (pixel - middle) / width + Fraction(bias)
        box = Box(x[None].double(), x[None].double())
        for rigorous in (True, False):
            (found,) = bound_network(network, box, "interval", rigorous=rigorous).pre_activation.values()
            holds = Fraction(found.lower.item()) <= exact <= Fraction(found.upper.item())
            assert holds or not rigorous
            missed += not holds
    assert missed, "without the margin for rounding, some do not"
