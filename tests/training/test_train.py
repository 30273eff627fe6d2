"""FAT training learns, and robustly so."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from abcrown_graft.training.evaluate import PgdAttack, accuracy, pgd_accuracy
from abcrown_graft.training.methods.fat import Fat
from abcrown_graft.training.settings import TrainSettings
from abcrown_graft.training.train import train

SETTINGS = TrainSettings(
    epochs=8, batch_size=32, lr=0.1, momentum=0.9, weight_decay=5e-4, epsilon=0.1, validation=60, milestones=(6,)
)


def quadrants(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise with one bright quadrant out of four: the label."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 1, 6, 6, generator=generator) * 0.6
    labels = torch.randint(0, 4, (count,), generator=generator)
    for image, label in zip(images, labels.tolist(), strict=True):
        top, left = divmod(label, 2)
        image[0, 3 * top : 3 * top + 3, 3 * left : 3 * left + 3] += 0.4
    return images, labels


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))


@pytest.mark.parametrize("gradalign", [0.0, 0.2])
def test_a_toy_problem_is_learnt(gradalign: float) -> None:
    model = network()
    result = train(model, *quadrants(660, 0), dataclasses.replace(SETTINGS, method=Fat(gradalign=gradalign)))
    assert accuracy(model, *quadrants(500, 1)) > 0.95
    assert result.history[-1].loss < result.history[0].loss


def test_fat_is_more_robust_than_plain_training() -> None:
    robust = {}
    for epsilon in (0.0, 0.1):
        model = network()
        train(model, *quadrants(660, 0), dataclasses.replace(SETTINGS, epsilon=epsilon))
        robust[epsilon] = pgd_accuracy(model, *quadrants(300, 1), PgdAttack(epsilon=0.1, steps=20))
    assert robust[0.1] > robust[0.0] + 0.03


def test_sgd_follows_torch_s_definition_of_momentum_and_decay() -> None:
    """One epoch of one batch without perturbation is one SGD step."""
    images, labels = quadrants(40, 0)
    settings = TrainSettings(
        epochs=1,
        batch_size=40,
        lr=0.3,
        momentum=0.9,
        weight_decay=0.1,
        epsilon=0.0,
        method=Fat(gradalign=0.0),
        validation=10,
    )
    model, before = network(), network()
    train(model, images, labels, settings)
    nn.functional.cross_entropy(before(images[:30]), labels[:30]).backward()
    for found, start in zip(model.parameters(), before.parameters(), strict=True):
        expected = start - 0.3 * (start.grad + 0.1 * start)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
