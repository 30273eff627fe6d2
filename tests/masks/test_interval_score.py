"""The weighted-interval score against Jacobians, interval arithmetic on matrices, and numbers by hand."""

from __future__ import annotations

import pytest
import torch
from sample_networks import assembled, grafted
from torch import Tensor, nn

from abcrown_graft.errors import ConfigError, DataError
from abcrown_graft.masks.interval_score import influence
from abcrown_graft.masks.significance import significance
from abcrown_graft.network.trace import from_module

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (2, 5, 5)


def dense(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double()


def by_matrices(module: nn.Sequential, image: Tensor, epsilon: float) -> dict[str, Tensor]:
    """Minus the score of one image, straight from the definition."""
    lower, upper = (image - epsilon).clamp(0, 1), (image + epsilon).clamp(0, 1)
    scores = {}
    for k in (0, 2):
        weight, bias = module[k].weight.detach(), module[k].bias.detach()
        centre, radius = weight @ (lower + upper) / 2 + bias, weight.abs() @ (upper - lower) / 2
        lower, upper = centre - radius, centre + radius
        outgoing = module[k + 2].weight.detach().abs().sum(0)
        scores[str(k + 1)] = -torch.where((lower < 0) & (upper > 0), upper - lower, 0.0) * outgoing
        lower, upper = lower.relu(), upper.relu()
    return scores


def test_the_score_is_minus_the_mean_weighted_width_of_the_unstable_neurons():
    module, images = dense(), torch.rand(5, 4, dtype=torch.float64)
    found = significance(from_module(module, (4,)), images, torch.zeros(5, dtype=torch.long), "interval", 2, 0.1)
    expected = [by_matrices(module, image, 0.1) for image in images]
    for site in ("1", "3"):
        torch.testing.assert_close(found[site], torch.stack([each[site] for each in expected]).mean(0))
        assert found[site].min() < 0 and found[site].max() <= 0
    assert any((found[site] == 0).any() for site in found), "some neuron is stable on every image"


@pytest.mark.parametrize("blocks", [["conv"], ["strided", "conv"], ["pool"], ["zero pad"], ["grouped"], ["dilated"]])
def test_influence_is_the_sum_of_absolute_derivatives_where_paths_do_not_meet(blocks: list[str]):
    torch.manual_seed(3)
    module = assembled(blocks, SHAPE)
    layers = [layer for block in module for layer in (block if isinstance(block, nn.Sequential) else [block])]
    found = influence(from_module(module, SHAPE))
    at = [k for k, layer in enumerate(layers) if isinstance(layer, (nn.ReLU, nn.LeakyReLU))]
    sites = list(found)
    for k, end in zip(at, [*at[1:], len(layers)], strict=True):
        if isinstance(layers[k], nn.LeakyReLU):
            continue
        shape = nn.Sequential(*layers[:k])(torch.zeros(1, *SHAPE, dtype=torch.float64)).shape
        jacobian = torch.autograd.functional.jacobian(nn.Sequential(*layers[k + 1 : end]), torch.zeros(shape).double())
        torch.testing.assert_close(found[sites.pop(0)], jacobian.abs().flatten(0, -len(shape) - 1).sum(0)[0])
    assert not sites


class Cancelling(nn.Module):
    """`relu(y - y) + 2 y` of `y = relu(x)`."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(x)
        return torch.relu(y + -1.0 * y) + 2 * y


def test_paths_that_meet_add_up_their_absolute_values():
    found = influence(from_module(Cancelling(), (3,)))
    assert {site: value.tolist() for site, value in found.items()} == {"relu": [4.0] * 3, "relu_1": [1.0] * 3}


def test_a_network_without_activations_has_no_influence():
    assert influence(from_module(nn.Sequential(nn.Linear(2, 2)), (2,))) == {}


def test_grafted_neurons_count_as_nothing():
    torch.manual_seed(1)
    module = grafted(assembled(["conv"], SHAPE), SHAPE, 0.5)
    network = from_module(module, SHAPE)
    (site,) = network.sites
    found = significance(network, torch.rand(3, *SHAPE).double(), torch.zeros(3).long(), "interval", epsilon=0.5)[site]
    assert (found[network.grafted_mask(site)] == 0).all() and (found[~network.grafted_mask(site)] < 0).any()


def test_no_radius_no_score():
    network = from_module(dense(), (4,))
    score = significance(network, torch.rand(2, 4).double(), torch.zeros(2).long(), "interval", epsilon=0.0)
    assert all((value == 0).all() and not value.signbit().any() for value in score.values())
    with pytest.raises(ConfigError, match=r"significance \(interval\) needs the perturbation's radius"):
        significance(network, torch.rand(2, 4).double(), torch.zeros(2).long(), "interval")


def test_a_nan_is_refused_with_the_site():
    images = torch.full((1, 4), torch.nan, dtype=torch.float64)
    with pytest.raises(DataError, match=r"significance \(interval\): NaN or infinite scores at site '1'"):
        significance(from_module(dense(), (4,)), images, torch.zeros(1).long(), "interval", epsilon=0.1)
