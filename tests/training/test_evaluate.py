"""Clean and robust accuracy, against the exact worst case of linear models and a naive PGD."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abcrown_graft.errors import ConfigError, DataError
from abcrown_graft.training.evaluate import (
    PgdAttack,
    accuracy,
    correct,
    hits,
    one_step_accuracy,
    pgd_accuracy,
    pgd_robust,
)
from abcrown_graft.training.fat import fat_perturbation
from abcrown_graft.training.seeds import stream


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def small_cnn() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(64, 3))


def data(count: int = 60) -> tuple[Tensor, Tensor]:
    return torch.rand(count, 1, 6, 6), torch.arange(count) % 3


def labelled_by(model: nn.Module, images: Tensor) -> Tensor:
    """The model's own predictions, every fifth replaced by another class."""
    with torch.no_grad():
        labels = copy.deepcopy(model).eval()(images).argmax(1)
    labels[::5] = (labels[::5] + 1) % 3
    return labels


def test_accuracy_counts_and_leaves_the_model_alone() -> None:
    model, (images, _) = small_cnn(), data()
    labels, before = labelled_by(model, images), copy.deepcopy(model.state_dict())
    for batch_size in (1, 7, 500):
        assert accuracy(model, images, labels, batch_size) == pytest.approx(0.8)
    assert model.training and model[1].training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_nan_logits_are_never_right() -> None:
    logits = torch.tensor([[1.0, 0.0], [torch.nan, 0.0], [torch.inf, 0.0]])
    assert hits(logits, torch.zeros(3, dtype=torch.int64)).tolist() == [True, False, False]


def linear_margin(model: nn.Linear, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """The smallest logit difference of a two-class linear model over box and valid pixels, by its signs."""
    sign = 1 - 2 * labels[:, None]
    weight = sign * (model.weight[0] - model.weight[1])
    worst = torch.where(weight > 0, (images - epsilon).clamp(min=0), (images + epsilon).clamp(max=1))
    return (weight * worst).sum(1) + sign[:, 0] * (model.bias[0] - model.bias[1])


@pytest.mark.parametrize("epsilon", [0.0, 0.02, 0.05, 0.1])
def test_pgd_is_exact_on_a_linear_model_of_two_classes(epsilon: float) -> None:
    model, images = nn.Linear(20, 2), torch.rand(300, 20)
    with torch.no_grad():
        labels = model(images).argmax(1)
        margin = linear_margin(model, images, labels, epsilon)
    sure = margin.abs() > 1e-5
    robust = pgd_robust(model, images, labels, PgdAttack(epsilon=epsilon, steps=10))
    assert torch.equal(robust[sure], margin[sure] > 0)
    assert pgd_accuracy(model, images, labels, PgdAttack(epsilon=epsilon, steps=10)) == robust.double().mean().item()
    assert (margin > 0).any() and (epsilon == 0 or (margin < 0).any())


def naive_pgd(model: nn.Module, images: Tensor, labels: Tensor, epsilon: float, steps: int, noise: Tensor) -> Tensor:
    x = torch.clamp(images + noise, 0, 1)
    for _ in range(steps):
        x = x.detach().requires_grad_()
        F.cross_entropy(model(x), labels).backward()
        x = x.detach() + 2.5 * epsilon / steps * x.grad.sign()
        x = torch.clamp(torch.max(torch.min(x, images + epsilon), images - epsilon), 0, 1)
    return x


def test_robust_images_agree_with_a_naive_attack() -> None:
    model, (images, _) = small_cnn().eval(), data(200)
    labels = labelled_by(model, images)
    noise = (torch.rand(images.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1) * 0.03
    attacked = naive_pgd(model, images, labels, 0.03, 20, noise)
    expected = correct(model, images, labels) & correct(model, attacked, labels)
    found = pgd_robust(model, images, labels, PgdAttack(epsilon=0.03, steps=20))
    assert 0.1 < found.double().mean() < 0.7
    assert (found != expected).double().mean() <= 0.02  # other starts, the odd other end


def test_misclassified_images_are_never_robust_and_the_order_is_kept() -> None:
    model, (images, _) = small_cnn(), data()
    labels = labelled_by(model, images)
    assert torch.equal(
        pgd_robust(model, images, labels, PgdAttack(epsilon=0.0, steps=1)), correct(model, images, labels)
    )
    assert not pgd_robust(model, images, labels, PgdAttack(epsilon=0.05, steps=5))[::5].any()


def test_robust_accuracy_falls_with_epsilon() -> None:
    model, (images, _) = small_cnn(), data(200)
    labels = labelled_by(model, images)
    found = [
        pgd_accuracy(model, images, labels, PgdAttack(epsilon=epsilon, steps=20))
        for epsilon in (0.0, 0.02, 0.05, 0.1, 0.3)
    ]
    assert found[0] == pytest.approx(0.8) and found == sorted(found, reverse=True) and found[0] > found[2] > found[4]


def test_the_result_does_not_depend_on_the_batch_size_but_on_the_seed() -> None:
    model, (images, _) = small_cnn().double(), data(90)
    images = images.double()
    labels = labelled_by(model, images)
    runs = [
        pgd_robust(model, images, labels, PgdAttack(epsilon=0.08, steps=1, step=0.2), batch_size=size)
        for size in (1, 7, 90)
    ]
    assert torch.equal(runs[0], runs[1]) and torch.equal(runs[0], runs[2])
    others = [
        pgd_robust(model, images, labels, PgdAttack(epsilon=0.08, steps=1, step=0.2, seed=seed))
        for seed in range(1, 20)
    ]
    assert any(not torch.equal(runs[0], other) for other in others)


def test_every_restart_must_be_withstood() -> None:
    model, (images, _) = small_cnn(), data(90)
    labels = labelled_by(model, images)
    runs = [
        pgd_robust(model, images, labels, PgdAttack(epsilon=0.1, steps=1, step=0.1, restarts=count))
        for count in (1, 2, 10)
    ]
    for fewer, more in pairwise(runs):
        assert not (more & ~fewer).any()
    assert runs[2].sum() < runs[0].sum()


class Bump(nn.Module):
    """Class 1 only between 0.40 and 0.45: ascent from below ends inside, a longer step jumps over."""

    def forward(self, x: Tensor) -> Tensor:
        z = x.flatten(1).mean(1)
        inside = torch.where((z > 0.4) & (z < 0.45), 10.0, -10.0)
        return torch.stack([-z, z + inside], 1)


def test_only_the_final_iterate_counts() -> None:
    images, labels = torch.full((1, 1, 1, 1), 0.3), torch.zeros(1, dtype=torch.int64)
    starts_below = torch.cat([images] * 50)
    robust = pgd_robust(Bump(), starts_below, labels.expand(50), PgdAttack(epsilon=0.125, steps=100))
    assert not robust.any()  # ends at 0.425
    robust = pgd_robust(Bump(), starts_below, labels.expand(50), PgdAttack(epsilon=0.2, steps=100))
    assert robust.all()  # passes through, ends at 0.5


def test_an_image_misclassified_without_perturbation_does_not_count_even_if_the_attack_mends_it() -> None:
    images, labels = torch.full((50, 1, 1, 1), 0.44), torch.zeros(50, dtype=torch.int64)
    assert not correct(Bump(), images, labels).any() and correct(Bump(), images + 0.1, labels).all()
    assert not pgd_robust(Bump(), images, labels, PgdAttack(epsilon=0.1, steps=100)).any()


@pytest.mark.parametrize(("steps", "step"), [(1, 0.1), (4, 0.1), (4, 0.6)])
def test_starts_are_uniform_and_all_steps_together_are_as_long_as_step_times_epsilon(steps: int, step: float) -> None:
    """One pixel at 1/2, lost above 1/2 + 0.7 epsilon: a start u is lost if u + step > 0.7."""
    model, images = nn.Linear(1, 2), torch.full((4000, 1), 0.5)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-1.0], [1.0]]))
        model.bias.copy_(torch.tensor([1.0, -1.0]) * (0.5 + 0.7 * 0.1))
    found = pgd_accuracy(
        model, images, torch.zeros(4000, dtype=torch.int64), PgdAttack(epsilon=0.1, steps=steps, step=step)
    )
    assert found == pytest.approx((1 + 0.7 - step) / 2, abs=0.04)


def test_attacks_leave_modes_and_statistics_alone() -> None:
    model, (images, labels) = small_cnn().train(), data()
    before = copy.deepcopy(model.state_dict())
    pgd_accuracy(model, images, labels, PgdAttack(epsilon=0.1, steps=2))
    one_step_accuracy(model, images, labels, 0.1, 1.25, seed=0)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_one_step_accuracy_is_that_of_the_fat_perturbation() -> None:
    model, (images, _) = small_cnn(), data(90)
    labels = labelled_by(model, images)
    delta = fat_perturbation(model, images, labels, 0.05, 1.25, stream(4))
    expected = accuracy(model, images + delta, labels)
    assert one_step_accuracy(model, images, labels, 0.05, 1.25, seed=4) == pytest.approx(expected)
    assert expected < 0.8


@pytest.mark.parametrize(
    ("key", "value"),
    [("epsilon", -0.1), ("epsilon", float("nan")), ("steps", 0), ("step", 0), ("restarts", 0), ("seed", -1)],
)
def test_wrong_settings(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=key):
        PgdAttack(**{"epsilon": 0.1, key: value})


def test_a_batch_has_at_least_one_image() -> None:
    with pytest.raises(ConfigError, match="batch_size must be at least 1"):
        pgd_robust(small_cnn(), *data(), PgdAttack(epsilon=0.1), batch_size=0)


def test_wrong_data() -> None:
    images, labels = data()
    with pytest.raises(DataError, match="no images"):
        accuracy(small_cnn(), images[:0], labels[:0])
    with pytest.raises(DataError, match="out of range"):
        pgd_accuracy(small_cnn(), images, labels + 5, PgdAttack(epsilon=0.1))
