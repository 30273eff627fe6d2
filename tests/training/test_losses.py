"""Every method has its loss, learns a real task, and PGD and TRADES are what their papers say."""

from __future__ import annotations

import copy
import dataclasses
import functools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abcrown_graft.errors import ConfigError
from abcrown_graft.training.fat import BatchLoss, cross_entropy_of
from abcrown_graft.training.method import METHODS, Method, Step
from abcrown_graft.training.methods.certified import CrownIbp, Ibp
from abcrown_graft.training.methods.fat import Fat
from abcrown_graft.training.methods.pgd import Pgd
from abcrown_graft.training.methods.trades import TRADES_START, Trades
from abcrown_graft.training.pgd import ascend
from abcrown_graft.training.settings import TrainSettings
from abcrown_graft.training.train import train

EPSILON = 0.1
SETTINGS = TrainSettings(
    epochs=3,
    batch_size=32,
    lr=0.05,
    momentum=0.9,
    weight_decay=0.0,
    epsilon=EPSILON,
    validation=60,
    method=Fat(gradalign=0.0),
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def batch(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    return images, labels


@functools.cache
def digits() -> tuple[Tensor, Tensor]:
    """260 of scikit-learn's handwritten digits, pixels in [0, 1]."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return torch.tensor(data.images[:260] / 16, dtype=torch.float32).unsqueeze(1), torch.tensor(data.target[:260])


def digits_network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def loss_of(method: Method, model: nn.Module, images: Tensor, labels: Tensor) -> BatchLoss:
    return method.loss(Step(model, images, labels, EPSILON, 1.25, seeded(7), 0.0))


@pytest.mark.parametrize("method", list(METHODS))
def test_digits_are_learnt(method: str) -> None:
    settings = dataclasses.replace(SETTINGS, method=METHODS[method](), epochs=6, epsilon=0.05, lr=0.1, batch_size=16)
    history = train(digits_network(), *digits(), settings).history
    assert history[-1].loss < 0.8 * history[0].loss
    assert history[-1].validation_accuracy > 0.5
    assert (history[-1].validation_certified_accuracy is not None) == bool(settings.method.certified_by)


@pytest.mark.parametrize("method", [Ibp, CrownIbp])
def test_certified_training_certifies_more_than_adversarial_training(method: type[Ibp | CrownIbp]) -> None:
    ramped = method(epsilon_start=1, epsilon_length=3)
    certified = dataclasses.replace(SETTINGS, method=ramped, epochs=8, epsilon=0.05)
    history = train(digits_network(), *digits(), certified).history
    untrained = dataclasses.replace(certified, lr=1e-9)
    before = train(digits_network(), *digits(), untrained).history
    assert history[-1].validation_certified_accuracy > before[-1].validation_certified_accuracy + 0.3


def test_an_epoch_counts_only_once_epsilon_is_full() -> None:
    """At the beginning more is certified than at a high learning rate's end, but it is not selected."""
    settings = dataclasses.replace(SETTINGS, method=Ibp(epsilon_start=1.5, epsilon_length=1), epochs=4, epsilon=0.02)
    result = train(digits_network(), *digits(), settings)
    counted = result.history[2:]
    best = max(counted, key=lambda record: record.validation_certified_accuracy)
    assert result.best_epoch == best.epoch
    late = dataclasses.replace(settings, method=Ibp(epsilon_start=4))
    assert train(digits_network(), *digits(), late).best_epoch == 4


@pytest.mark.parametrize(
    ("method", "changed", "told"),
    [
        (Pgd, {"pgd_steps": 0}, "train.pgd_steps: expected an integer, at least 1, got 0"),
        (Pgd, {"pgd_step": 0.0}, "train.pgd_step: expected a finite number, above 0, got 0.0"),
        (Trades, {"trades_beta": -1.0}, "train.trades_beta: expected a finite number, at least 0, got -1.0"),
        (Ibp, {"kappa": 1.5}, "train.kappa: expected a finite number, at least 0 and at most 1, got 1.5"),
        (Ibp, {"epsilon_start": 2, "epsilon_length": 2}, r"train.epsilon_length: 2\.0: .* fit into the 3 epochs"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(method: type[Method], changed: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        dataclasses.replace(SETTINGS, method=method(**changed))


def test_pgd_is_the_loop_of_its_paper(model: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    images, labels = batch
    twin = copy.deepcopy(model).eval()
    delta = torch.rand(images.shape, generator=seeded(7)) * 2 * EPSILON - EPSILON
    delta = (images + delta).clamp(0, 1) - images
    for _ in range(3):
        delta.requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(twin(images + delta), labels), delta)
        delta = (delta.detach() + 0.5 * EPSILON * gradient.sign()).clamp(-EPSILON, EPSILON)
        delta = (images + delta).clamp(0, 1) - images
    expected = F.cross_entropy(twin.train()(images + delta), labels)
    found = loss_of(Pgd(pgd_steps=3, pgd_step=1.5), model.train(), images, labels)
    torch.testing.assert_close(found.loss, expected)
    assert model[1].num_batches_tracked == 1  # the attack saw eval mode


def test_more_steps_find_more_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    images, labels = batch
    model.eval()

    def reached(steps: int) -> float:
        start, loss = torch.zeros_like(images), cross_entropy_of(labels)
        delta = ascend(model, images, start, loss, EPSILON, steps, 2.5)
        assert delta.abs().max() <= torch.tensor(EPSILON)
        assert (images + delta).min() >= 0 and (images + delta).max() <= 1
        return F.cross_entropy(model(images + delta), labels).item()

    assert reached(20) > F.cross_entropy(model(images), labels).item() + 0.01


def test_trades_is_cross_entropy_plus_the_weighted_divergence(model: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    images, labels = batch
    twin = copy.deepcopy(model).eval()
    clean = twin(images).softmax(1).detach()

    def divergence(z: Tensor, p: Tensor) -> Tensor:
        return (p * (p.log() - z.softmax(1).log())).sum(1)

    delta = (TRADES_START * torch.randn(images.shape, generator=seeded(7))).clamp(-images, 1 - images)
    for _ in range(2):
        delta.requires_grad_()
        (gradient,) = torch.autograd.grad(divergence(twin(images + delta), clean).sum(), delta)
        step = 2.5 / 2 * EPSILON
        delta = (delta.detach() + step * gradient.sign()).clamp(-EPSILON, EPSILON)
        delta = (images + delta).clamp(0, 1) - images
    twin.train()
    logits, perturbed = twin(images), twin(images + delta)
    expected = F.cross_entropy(logits, labels) + 4.0 * divergence(perturbed, logits.softmax(1)).mean()
    found = loss_of(Trades(trades_beta=4.0, pgd_steps=2), model.train(), images, labels)
    torch.testing.assert_close(found.loss, expected)
    torch.testing.assert_close(found.logits, perturbed)
    assert divergence(perturbed, logits.softmax(1)).mean() > 1e-4
