"""The epoch loop: batches, selection, resuming, wrong inputs; seen through `train`."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from abcrown_graft.errors import AbcrownGraftError, ConfigError, DataError, FileFormatError, SettingsDifferError
from abcrown_graft.training.evaluate import accuracy, one_step_accuracy
from abcrown_graft.training.loop import Bookkeeping, EpochRecord, TrainResult, batches
from abcrown_graft.training.methods.fat import Fat
from abcrown_graft.training.seeds import seed_of
from abcrown_graft.training.settings import TrainSettings
from abcrown_graft.training.train import train

SETTINGS = TrainSettings(
    epochs=4,
    batch_size=16,
    lr=0.1,
    momentum=0.9,
    weight_decay=5e-4,
    epsilon=0.05,
    validation=20,
    milestones=(3,),
    augment="crop_flip",
    seed=5,
)


def model(seed: int = 0, hidden: int = 8) -> nn.Module:
    """Has everything that carries state: batch norm statistics and dropout."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(hidden, 2),
        )


def data(count: int = 117) -> tuple[Tensor, Tensor]:
    """Bright above or bright below."""
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(count, 1, 6, 6, generator=generator) * 0.5, torch.arange(count) % 2
    for image, label in zip(images, labels.tolist(), strict=True):
        image[:, 3 * label : 3 * label + 3] += 0.5
    return images, labels


def equal_states(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def without_time(history: tuple[EpochRecord, ...]) -> list[EpochRecord]:
    return [dataclasses.replace(record, seconds=0.0) for record in history]


class Interrupted(Exception):
    """Stands for Ctrl-C."""


def interrupted_then_resumed(path: Path, after: int) -> TrainResult:
    def stop(record: EpochRecord) -> None:
        if record.epoch == after:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(model(), *data(), SETTINGS, Bookkeeping(resume_path=path, on_epoch=stop))
    torch.rand(5)  # other work in between draws from torch's global generator
    return train(model(seed=99), *data(), SETTINGS, Bookkeeping(resume_path=path))


@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path, after: int) -> None:
    straight = train(model(), *data(), SETTINGS, Bookkeeping(resume_path=tmp_path / "straight.resume"))
    resumed = interrupted_then_resumed(tmp_path / "run.resume", after)
    assert equal_states(straight.state, resumed.state)
    assert straight.best_epoch == resumed.best_epoch
    assert without_time(straight.history) == without_time(resumed.history)
    ends = [torch.load(tmp_path / name, weights_only=True)["progress"] for name in ("straight.resume", "run.resume")]
    assert equal_states(ends[0]["model"], ends[1]["model"])
    moments = [[state["momentum_buffer"] for state in end["optimizer"]["state"].values()] for end in ends]
    assert all(torch.equal(first, second) for first, second in zip(*moments, strict=True))


def test_a_finished_run_is_not_repeated(tmp_path: Path) -> None:
    first = train(model(), *data(), SETTINGS, Bookkeeping(resume_path=tmp_path / "run.resume"))
    seen: list[EpochRecord] = []
    second = train(model(), *data(), SETTINGS, Bookkeeping(resume_path=tmp_path / "run.resume", on_epoch=seen.append))
    assert seen == [] and second.history == first.history and equal_states(first.state, second.state)


def test_the_run_depends_on_its_seed_and_not_on_global_state() -> None:
    first = train(model(), *data(), SETTINGS)
    torch.rand(7)
    before = torch.random.get_rng_state()
    assert equal_states(first.state, train(model(), *data(), SETTINGS).state)
    assert torch.equal(before, torch.random.get_rng_state())
    other = train(model(), *data(), dataclasses.replace(SETTINGS, seed=6))
    assert not equal_states(first.state, other.state)


def test_the_best_epoch_is_returned_and_left_in_the_model() -> None:
    states: list[dict[str, Tensor]] = []
    trained = model().eval()
    settings = dataclasses.replace(SETTINGS, epochs=8, lr=0.3, milestones=())

    def keep(_: EpochRecord) -> None:
        states.append(copy.deepcopy(trained.state_dict()))

    result = train(trained, *data(), settings, Bookkeeping(on_epoch=keep))
    robust = [record.validation_robust_accuracy for record in result.history]
    assert result.best_epoch == robust.index(max(robust)) + 1 < len(robust)
    assert equal_states(result.state, states[result.best_epoch - 1])
    assert equal_states(result.state, dict(trained.state_dict()))
    assert not any(module.training for module in trained.modules())


def test_records_tell_what_happened() -> None:
    trained, (images, labels), seen = model(), data(), []
    settings = dataclasses.replace(SETTINGS, milestones=(1, 3), lr_factor=0.5)
    result = train(trained, images, labels, settings, Bookkeeping(on_epoch=seen.append))
    assert tuple(seen) == result.history
    assert [record.epoch for record in seen] == [1, 2, 3, 4]
    assert [record.lr for record in seen] == pytest.approx([0.1, 0.05, 0.05, 0.025])
    best = seen[result.best_epoch - 1]
    assert accuracy(trained, images[-20:], labels[-20:]) == best.validation_accuracy
    robust = one_step_accuracy(trained, images[-20:], labels[-20:], 0.05, 1.25, seed_of(settings.seed, 3))
    assert robust == best.validation_robust_accuracy
    assert all(record.seconds > 0 and record.loss > 0 and 0 <= record.train_accuracy <= 1 for record in seen)


def test_validation_images_are_not_learnt_from() -> None:
    images, labels = data()
    first = train(model(), images, labels, dataclasses.replace(SETTINGS, epochs=1, milestones=()))
    images, labels = images.clone(), labels.clone()
    images[-20:], labels[-20:] = 0.5, 0
    second = train(model(), images, labels, dataclasses.replace(SETTINGS, epochs=1, milestones=()))
    assert equal_states(first.state, second.state)
    images[-21] = 0.5
    third = train(model(), images, labels, dataclasses.replace(SETTINGS, epochs=1, milestones=()))
    assert not equal_states(first.state, third.state)


@pytest.mark.parametrize(
    ("count", "size", "sizes"),
    [(10, 4, [4, 4, 2]), (9, 4, [4, 5]), (8, 4, [4, 4]), (3, 8, [3]), (1, 8, [1]), (3, 1, [1, 1, 1])],
)
def test_batches_are_a_permutation_without_a_single_left_over(count: int, size: int, sizes: list[int]) -> None:
    pieces = batches(count, size, torch.Generator().manual_seed(0))
    assert [len(piece) for piece in pieces] == sizes
    assert sorted(torch.cat(pieces).tolist()) == list(range(count))


def test_a_left_over_image_does_not_break_batch_norm() -> None:
    result = train(model(), *data(33 + 20), dataclasses.replace(SETTINGS, epochs=1, milestones=()))
    assert len(result.history) == 1


class Exploding(nn.Module):
    """Finite for the probe, infinite after the first step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, 36))

    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(1000 * x.flatten(1) @ self.weight.T)


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    with pytest.raises(
        AbcrownGraftError, match=r"train: the loss is \w+ in epoch 1, batch 2; lower train\.lr \(0\.1\)"
    ):
        train(Exploding(), *data(), SETTINGS)


def test_modes_come_back_after_an_error() -> None:
    trained = Exploding().eval()
    with pytest.raises(AbcrownGraftError):
        train(trained, *data(), SETTINGS)
    assert not trained.training


@pytest.mark.parametrize("validation", [117, 500])
def test_validation_must_leave_images_to_learn_from(validation: int) -> None:
    with pytest.raises(ConfigError, match=rf"train\.validation: {validation} images leave none of 117"):
        train(model(), *data(), dataclasses.replace(SETTINGS, validation=validation))


def test_unknown_augmentation_and_images_it_cannot_take() -> None:
    images, labels = data()
    with pytest.raises(ConfigError, match=r"train\.augment: expected one of none, crop_flip, got 'flip'"):
        dataclasses.replace(SETTINGS, augment="flip")
    with pytest.raises(ConfigError, match=r"train\.augment: 'crop_flip' needs 3 axes, not \(36,\)"):
        train(nn.Linear(36, 2), images.flatten(1), labels, SETTINGS)


def test_wrong_data_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    images, labels = data()
    for wrong in ((images[:0], labels[:0]), (images, labels + 1), (torch.rand(117, 3, 6, 6), labels)):
        with pytest.raises(DataError):
            train(model(), *wrong, SETTINGS, Bookkeeping(resume_path=tmp_path / "run.resume"))
    assert list(tmp_path.iterdir()) == []


def test_a_resume_file_of_other_settings_data_or_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.resume"
    train(model(), *data(), SETTINGS, Bookkeeping(resume_path=path, subject={"data": "toy"}))
    with pytest.raises(SettingsDifferError, match=r"specification\.epsilon = 0\.05, this run has 0\.1"):
        train(
            model(),
            *data(),
            dataclasses.replace(SETTINGS, epsilon=0.1),
            Bookkeeping(resume_path=path, subject={"data": "toy"}),
        )
    with pytest.raises(SettingsDifferError, match="data = 'toy', this run has 'other'"):
        train(model(), *data(), SETTINGS, Bookkeeping(resume_path=path, subject={"data": "other"}))
    with pytest.raises(FileFormatError, match="of another model") as caught:
        train(model(hidden=9), *data(), SETTINGS, Bookkeeping(resume_path=path, subject={"data": "toy"}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["model", "optimizer", "history", "best"])
@pytest.mark.parametrize("wrong", [{}, [{"epoch": 1}], None])
def test_a_resume_file_that_lacks_something_is_refused(tmp_path: Path, key: str, wrong: object) -> None:
    path = tmp_path / "run.resume"
    train(model(), *data(), SETTINGS, Bookkeeping(resume_path=path))
    content = torch.load(path, weights_only=True)
    content["progress"][key] = wrong
    torch.save(content, path)
    with pytest.raises(FileFormatError, match=r"run\.resume: .*; delete it to start anew$"):
        train(model(), *data(), SETTINGS, Bookkeeping(resume_path=path))


STILL = dataclasses.replace(
    SETTINGS, lr=1e-30, weight_decay=0.0, method=Fat(gradalign=0.0), augment="none", milestones=()
)  # too slow to change any weight


def test_the_earliest_epoch_of_highest_robust_accuracy_is_best(monkeypatch: pytest.MonkeyPatch) -> None:
    validated = iter([(0.6, 0.3, None), (0.7, 0.5, None), (0.8, 0.5, None), (0.9, 0.4, None)])  # clean, robust
    monkeypatch.setattr("abcrown_graft.training.loop._validate", lambda _: next(validated))
    assert train(model(), *data(), SETTINGS).best_epoch == 2


def test_the_recorded_loss_is_the_mean_over_images() -> None:
    images, labels = data(20 + 20)  # batches of 16 and 4
    linear = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    with torch.no_grad():
        linear[1].weight.mul_(10)
        expected = nn.functional.cross_entropy(linear(images[:20]), labels[:20]).item()
        right = (linear(images[:20]).argmax(1) == labels[:20]).double().mean().item()
    record = train(linear, images, labels, dataclasses.replace(STILL, epsilon=0.0)).history[-1]
    assert record.loss == pytest.approx(expected, rel=1e-5)
    assert record.train_accuracy == pytest.approx(right)


def test_every_epoch_draws_noise_of_its_own() -> None:
    images, labels = torch.full((40, 36), 0.5), torch.zeros(40, dtype=torch.int64)  # all equal: order cannot matter
    losses = [record.loss for record in train(nn.Linear(36, 2), images, labels, STILL).history]
    assert len(set(losses)) == len(losses)
