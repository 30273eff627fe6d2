"""Graft tuning: who learns, at which rate, and what stays untouched."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from abcrown_graft.errors import ConfigError, MaskError, SettingsDifferError
from abcrown_graft.nn.activation import GraftedReLU
from abcrown_graft.training.loop import Bookkeeping, EpochRecord
from abcrown_graft.training.methods.fat import Fat
from abcrown_graft.training.penalties import relu_instability
from abcrown_graft.training.settings import TuneSettings
from abcrown_graft.training.tune import parameter_groups, split_parameters, state_digest, tune

SETTINGS = TuneSettings(
    epochs=3,
    batch_size=16,
    lr=1e-3,
    slope_lr=0.01,
    momentum=0.9,
    weight_decay=5e-4,
    epsilon=0.05,
    validation=20,
)
MASK = torch.arange(8) % 3 == 0


def grafted(seed: int = 0, mask: Tensor = MASK) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64, 8),
            GraftedReLU(mask),
            nn.Linear(8, 2),
        )


def data(count: int = 116) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(count, 1, 6, 6, generator=generator) * 0.5, torch.arange(count) % 2
    for image, label in zip(images, labels.tolist(), strict=True):
        image[:, 3 * label : 3 * label + 3] += 0.5
    return images, labels


def tuned(settings: TuneSettings) -> tuple[nn.Module, dict[str, Tensor], dict[str, Tensor]]:
    """The model, its state before, and its state after the best epoch."""
    model = grafted()
    before = copy.deepcopy(model.state_dict())
    return model, before, tune(model, *data(), settings).state


def test_groups_have_the_documented_rates_and_decay() -> None:
    model = grafted()
    grafts, others = split_parameters(model)
    assert {id(p) for p in grafts} == {id(model[5].slope), id(model[5].intercept)}
    assert {id(p) for p in (*grafts, *others)} == {id(p) for p in model.parameters()}
    weights, slopes = parameter_groups(grafts, others, SETTINGS)
    assert (weights["lr"], weights["weight_decay"], weights["params"]) == (1e-3, 5e-4, others)
    assert (slopes["lr"], slopes["weight_decay"], slopes["params"]) == (0.01, 0.0, grafts)


def test_the_first_step_has_the_documented_sizes() -> None:
    """One batch, no perturbation: every parameter moves by its own rate times its gradient."""
    images, labels = data(36)
    settings = dataclasses.replace(
        SETTINGS,
        epochs=1,
        batch_size=36,
        epsilon=0.0,
        method=Fat(gradalign=0.0),
        slope_lr=0.5,
        lr=0.2,
        weight_decay=0.1,
    )
    model, before = grafted(), grafted()
    tune(model, images, labels, settings)
    nn.functional.cross_entropy(before(images[:16]), labels[:16]).backward()
    for name, start in before.named_parameters():
        lr, decay = (0.5, 0.0) if name.startswith("5.") else (0.2, 0.1)
        expected = start - lr * (start.grad + decay * start)
        torch.testing.assert_close(dict(model.named_parameters())[name], expected, atol=1e-6, rtol=1e-5)


def test_weights_and_grafts_learn_together() -> None:
    _, before, after = tuned(SETTINGS)
    for name in ("0.weight", "4.weight", "5.slope", "5.intercept", "6.bias"):
        assert not torch.equal(before[name], after[name]), name
    assert torch.equal(before["5.mask"], after["5.mask"])


@pytest.mark.parametrize("freeze_weights", [False, True])
def test_slopes_and_intercepts_move_only_where_the_mask_is_set(freeze_weights: bool) -> None:
    _, before, after = tuned(dataclasses.replace(SETTINGS, freeze_weights=freeze_weights, weight_decay=0.5))
    for name in ("5.slope", "5.intercept"):
        moved = before[name] != after[name]
        assert torch.equal(moved, MASK), name


def test_frozen_weights_and_statistics_stay_bit_for_bit() -> None:
    model, before, after = tuned(dataclasses.replace(SETTINGS, freeze_weights=True))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"5.slope", "5.intercept"}
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_gradient_flags_come_back_after_an_error() -> None:
    model = grafted()
    model[0].bias.requires_grad_(False)

    def stop(_: EpochRecord) -> None:
        assert not model[0].weight.requires_grad
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(model, *data(), dataclasses.replace(SETTINGS, freeze_weights=True), Bookkeeping(on_epoch=stop))
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["0.bias"]


def test_rates_fall_along_a_cosine() -> None:
    history = tune(grafted(), *data(), dataclasses.replace(SETTINGS, epochs=4)).history
    assert [record.lr for record in history] == pytest.approx([1e-3, 0.853553e-3, 0.5e-3, 0.146447e-3], rel=1e-5)


def test_tuning_helps_a_damaged_network() -> None:
    settings = dataclasses.replace(SETTINGS, epochs=10, lr=0.05, slope_lr=0.05)
    history = tune(grafted(), *data(), settings).history
    assert max(record.validation_robust_accuracy for record in history) > 0.95
    assert history[-1].loss < history[0].loss


def assert_goes_on(path: Path, begun: Callable[[], nn.Module], again: nn.Module, others: Sequence[nn.Module]) -> None:
    """A tuning of `begun` that was interrupted goes on bit for bit from `again`, and is refused from `others`."""

    def stop(record: EpochRecord) -> None:
        if record.epoch == 2:
            raise KeyboardInterrupt

    straight = tune(begun(), *data(), SETTINGS).state
    with pytest.raises(KeyboardInterrupt):
        tune(begun(), *data(), SETTINGS, Bookkeeping(resume_path=path, on_epoch=stop))
    for other in others:
        with pytest.raises(SettingsDifferError, match="the start = "):
            tune(other, *data(), SETTINGS, Bookkeeping(resume_path=path))
    resumed = tune(again, *data(), SETTINGS, Bookkeeping(resume_path=path)).state
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_resuming_is_bit_exact_and_bound_to_the_starting_model(tmp_path: Path) -> None:
    assert_goes_on(tmp_path / "tune.resume", grafted, grafted(), [grafted(seed=1), grafted(mask=~MASK)])


def test_a_setting_that_is_shared_with_training_is_named_as_there() -> None:
    for changed in ({"validation": 116}, {"augment": "flip"}):
        with pytest.raises(ConfigError, match=rf"^train\.{next(iter(changed))}: "):
            tune(grafted(), *data(), dataclasses.replace(SETTINGS, **changed))


def fitted(turned: float = 0.0) -> nn.Module:
    """As `grafted`, with a line of its own for every neuron; `turned` stands for rounding."""
    model = grafted()
    with torch.no_grad():
        model[5].slope.copy_(torch.linspace(0.1, 0.9, 8) + turned)
        model[5].intercept.copy_(torch.linspace(-0.1, 0.2, 8) + turned)
    return model


def test_fitted_lines_may_differ_by_rounding_where_a_run_goes_on(tmp_path: Path) -> None:
    """The least squares of another number of threads; the resumed run has the lines of the interrupted one."""
    other = fitted()
    with torch.no_grad():
        other[0].weight.add_(1e-6)
    assert_goes_on(tmp_path / "tune.resume", fitted, fitted(1e-7), [other, grafted()])


def test_a_network_without_grafts_is_refused() -> None:
    with pytest.raises(MaskError, match="no grafted activation"):
        tune(nn.Sequential(nn.Flatten(), nn.Linear(36, 2), nn.ReLU()), *data(), SETTINGS)


def test_the_digest_sees_names_shapes_and_values() -> None:
    model = grafted()
    same, other = state_digest(grafted()), copy.deepcopy(model)
    with torch.no_grad():
        other[6].bias[1] += 1e-6
    assert state_digest(model) == same != state_digest(other)
    assert state_digest(grafted(mask=~MASK)) != same
    with torch.no_grad():
        model[5].slope.fill_(0.5)
    assert state_digest(model) != same


def test_pruning_makes_slopes_and_intercepts_zero_for_good() -> None:
    _, before, after = tuned(dataclasses.replace(SETTINGS, prune=True))
    assert (before["5.slope"] == torch.tensor(0.4)).all()
    assert not after["5.slope"].any() and not after["5.intercept"].any()
    assert torch.equal(after["5.mask"], MASK)
    assert not torch.equal(after["0.weight"], before["0.weight"])


def test_pruned_neurons_need_gradients_again_afterwards() -> None:
    model, _, _ = tuned(dataclasses.replace(SETTINGS, prune=True, epochs=1))
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_slope_decay_draws_grafted_slopes_to_its_target() -> None:
    for target in (0.0, 1.0):
        settings = dataclasses.replace(SETTINGS, slope_decay=10.0, slope_target=target)
        slopes = tuned(settings)[2]["5.slope"]
        plain = tuned(SETTINGS)[2]["5.slope"]
        assert ((slopes - target).abs() < (plain - target).abs() - 0.1)[MASK].all()
        assert torch.equal(slopes[~MASK], torch.full_like(slopes[~MASK], 0.4))


def test_relu_stability_lowers_the_interval_instability() -> None:
    instability = {}
    for weight in (0.0, 5.0):
        model, _, _ = tuned(dataclasses.replace(SETTINGS, relu_stability=weight, lr=0.01))
        instability[weight] = relu_instability(model.eval(), data()[0], SETTINGS.epsilon).item()
    assert instability[5.0] < instability[0.0] - 0.01


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"prune": True, "freeze_weights": True}, "tune.prune: true: leaves nothing to learn"),
        ({"prune": True, "slope_decay": 1.0}, "tune.prune: true: fixes the slopes"),
        ({"slope_decay": -1.0}, "tune.slope_decay: expected a finite number, at least 0, got -1.0"),
        ({"slope_target": float("nan")}, "tune.slope_target: expected a finite number, got nan"),
        ({"relu_stability": float("inf")}, "tune.relu_stability: expected a finite number, at least 0, got inf"),
        ({"prune": 1}, "tune.prune: expected true or false, got 1"),
    ],
)
def test_wrong_variants_are_refused(changed: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        dataclasses.replace(SETTINGS, **changed)
