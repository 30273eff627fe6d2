"""Learned scores: what is kept, what the gradient is, and that learning lowers the robust loss."""

from __future__ import annotations

import pytest
import torch
from sample_networks import Residual, assembled
from selected_masks import select_mask
from torch import Tensor, nn
from torch.nn import functional

from abcrown_graft.errors import AbcrownGraftError, ConfigError, DataError
from abcrown_graft.masks.learned import ScoredNetwork, fan_in, initial_scores, learned_scores
from abcrown_graft.masks.options import LearnSettings
from abcrown_graft.masks.significance import significance
from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.graph import Network
from abcrown_graft.network.trace import from_module
from abcrown_graft.nn.surgery import graft

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (2, 5, 5)


def settings(**changed: object) -> LearnSettings:
    return LearnSettings(**{"epsilon": 0.05, "epochs": 2, "batch_size": 8, "seed": 1, **changed})


def module(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return assembled(["conv", "residual"], SHAPE)


def random_scores(network: Network, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {site: torch.rand(shape, generator=generator).double() for site, shape in network.sites.items()}


def learnable() -> tuple[Network, Tensor, Tensor]:
    """Two blobs, and a network of which the last eight of sixteen neurons do nothing but harm."""
    torch.manual_seed(0)
    labels = torch.arange(64) % 2
    images = (0.3 + 0.4 * labels.unsqueeze(1) + 0.05 * torch.randn(64, 6)).clamp(0, 1)
    net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2)).requires_grad_(False)
    net[0].weight.copy_(torch.rand(16, 6))
    net[0].bias.fill_(-1.5)
    net[2].weight.zero_()[1, :8] = 1.0
    net[2].weight[0, 8:] = 0.5
    net[2].bias.copy_(torch.tensor([0.2, -0.2]))
    return from_module(net, (6,)), images, labels


@pytest.mark.parametrize("scope", ("layer", "global"))
@pytest.mark.parametrize("ratio", (0.0, 0.3, 0.5, 1.0))
def test_what_is_not_kept_is_what_the_preset_insignificant_grafts(scope: str, ratio: float):
    network = from_module(module(), SHAPE)
    scores = random_scores(network)
    kept = ScoredNetwork(network, scores, settings(ratio=ratio, scope=scope)).kept
    with pytest.warns() if ratio == 1 else torch.no_grad():
        mask = select_mask(scores, scores, ratio, "insignificant", scope=scope)
    assert all(torch.equal(~kept[site], mask[site]) for site in network.sites)


def test_of_equal_scores_the_earlier_neurons_are_not_kept():
    network, _, _ = learnable()
    model = ScoredNetwork(network, {"1": torch.zeros(16)}, settings(ratio=0.25))
    assert model.kept["1"].tolist() == [False] * 4 + [True] * 12


@pytest.mark.parametrize("line", [(0.4, 0.1), (0.0, 0.0)])
def test_the_forward_pass_is_that_of_the_grafted_network(line: tuple[float, float]):
    plain = module()
    network, x = from_module(plain, SHAPE), torch.randn(4, *SHAPE).double()
    model = ScoredNetwork(network, random_scores(network), settings(slope=line[0], intercept=line[1]))
    expected = graft(plain, {site: ~kept for site, kept in model.kept.items()}, *line)(x)
    torch.testing.assert_close(model(x), expected)


def test_the_gradient_of_a_score_goes_straight_through_the_choice():
    network, images, labels = learnable()
    model = ScoredNetwork(network, {"1": torch.rand(16)}, settings(slope=0.3, intercept=0.2))
    functional.cross_entropy(model(images), labels).backward()
    first, last = (network.nodes[k].operator for k in (1, 3))
    z = images @ first.weight.T + first.bias
    y = torch.where(model.kept["1"], z.relu(), 0.3 * z + 0.2).requires_grad_()
    functional.cross_entropy(y @ last.weight.T + last.bias, labels).backward()
    torch.testing.assert_close(model.scores[0].grad, (y.grad * (z.relu() - 0.3 * z - 0.2)).sum(0))


def test_initial_scores_are_scaled_by_fan_in_and_the_largest_of_the_site():
    network = from_module(nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 2), nn.ReLU()), (6,))
    found = initial_scores(network, {"1": torch.tensor([1.0, 4.0, -2.0]), "3": torch.zeros(2)})
    torch.testing.assert_close(found["1"], torch.tensor([0.25, 1.0, -0.5]))  # sqrt(6 / 6)
    assert found["3"].tolist() == [0.0, 0.0]


def test_the_fan_in_of_a_sum_is_the_sum():
    network = from_module(Residual(2, 3, 2), SHAPE)
    assert [fan_in(network, node) for node in network.activations] == [2 * 9, 3 * 9 + 2]


def test_learning_finds_the_neurons_that_matter():
    network, images, labels = learnable()
    wrong = {"1": torch.cat([torch.zeros(8), torch.ones(8)])}
    losses = []
    found = learned_scores(
        *(network, images, labels, wrong),
        settings(epochs=10, slope=0.0, lr=1.0),
        lambda epoch, loss: losses.append((epoch, loss)),
    )
    assert [epoch for epoch, _ in losses] == list(range(1, 11))
    assert losses[-1][1] < 0.5 * losses[0][1]
    mask = select_mask(found, found, 0.5, "insignificant")["1"]
    assert mask[8:].all() and not mask[:8].any()


def test_scores_are_float64_of_the_shapes_of_the_sites_and_the_weights_stay():
    network = from_module(module(), SHAPE).to(dtype=torch.float32)
    images, labels = torch.rand(12, *SHAPE), torch.arange(12) % 3
    before = evaluate(network, images)
    start = significance(network, images, labels)
    found = learned_scores(network, images, labels, start, settings())
    assert {site: tuple(score.shape) for site, score in found.items()} == dict(network.sites)
    assert all(score.dtype == torch.float64 and not score.requires_grad for score in found.values())
    assert torch.equal(evaluate(network, images), before)


def test_the_seed_decides_and_nothing_else():
    network, images, labels = learnable()
    start = {"1": torch.rand(16)}
    state = torch.random.get_rng_state()
    first = learned_scores(network, images, labels, start, settings())["1"]
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(77)
    assert torch.equal(learned_scores(network, images, labels, start, settings())["1"], first)
    assert not torch.equal(learned_scores(network, images, labels, start, settings(seed=2))["1"], first)


def test_a_network_without_activations_has_no_scores():
    network = from_module(nn.Sequential(nn.Linear(2, 2)), (2,))
    assert learned_scores(network, torch.rand(2, 2), torch.zeros(2).long(), {}, settings()) == {}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"epochs": 0}, r"significance\.epochs: expected an integer, at least 1, got 0"),
        ({"lr": 0.0}, r"significance\.lr: expected a finite number, above 0, got 0\.0"),
        ({"ratio": 1.5}, r"significance\.ratio: expected a finite number, at least 0 and at most 1, got 1\.5"),
        ({"scope": "site"}, r"significance\.scope: expected one of global, layer, got 'site'"),
        ({"slope": float("nan")}, r"^tune\.slope: expected a finite number, got nan"),
        ({"intercept": float("inf")}, r"^tune\.intercept: expected a finite number, got inf"),
        ({"attack_step": 0.0}, r"^train\.attack_step: expected a finite number, above 0, got 0\.0"),
        ({"epsilon": 1.5}, r"^specification\.epsilon: 1\.5: training needs a radius in \[0, 1\]"),
        ({"seed": -1}, r"^general\.seed: expected an integer, at least 0 and .*, got -1"),
    ],
)
def test_wrong_settings_are_refused(changed: dict[str, object], told: str):
    with pytest.raises(ConfigError, match=told):
        settings(**changed)


def test_what_cannot_be_learned_from_is_refused():
    network, images, labels = learnable()
    with pytest.raises(DataError, match="at least one image"):
        learned_scores(network, images[:0], labels[:0], {"1": torch.rand(16)}, settings())
    with pytest.raises(DataError, match="of another network: sites of another shape: '1'"):
        learned_scores(network, images, labels, {"1": torch.rand(15)}, settings())
    with pytest.raises(DataError, match="initial scores of site '1' are not all finite"):
        learned_scores(network, images, labels, {"1": torch.full((16,), torch.inf)}, settings())
    with pytest.raises(AbcrownGraftError, match=r"the loss is nan in epoch 1; lower significance\.lr"):
        learned_scores(network, images * torch.nan, labels, {"1": torch.rand(16)}, settings())
