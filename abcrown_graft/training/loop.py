"""The epoch loop that training and graft tuning share."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from abcrown_graft.errors import AbcrownGraftError, ConfigError, FileFormatError
from abcrown_graft.training.certified import certified_accuracy
from abcrown_graft.training.checks import check_data
from abcrown_graft.training.compiled import compiled, explained
from abcrown_graft.training.evaluate import correct, hits, one_step_accuracy
from abcrown_graft.training.method import Step
from abcrown_graft.training.modes import device_of, restored_modes, set_training
from abcrown_graft.training.resume import load_progress, save_progress
from abcrown_graft.training.schedule import warmup_factor
from abcrown_graft.training.seeds import seed_of, stream
from abcrown_graft.training.settings import AUGMENTATIONS, AdversarialSettings

_ORDER, _NOISE, _GLOBAL, _VALIDATION = range(4)  # streams of a run's seed


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch; accuracies in [0, 1].

    Attributes:
        epoch: counted from 1.
        loss: mean loss per training image, all its terms included.
        train_accuracy: while learning, at the perturbed training images; at the clean ones in certified training.
        validation_accuracy: without perturbation.
        validation_robust_accuracy: under the one-step attack; selects the best epoch of adversarial training.
        lr: learning rate of the first parameter group at the epoch's last step.
        seconds: wall time, validation included.
        validation_certified_accuracy: by the bounds of certified training at full epsilon; selects its best epoch. None
            in adversarial training.
    """

    epoch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float
    validation_robust_accuracy: float
    lr: float
    seconds: float
    validation_certified_accuracy: float | None = None


@dataclass(frozen=True)
class TrainResult:
    """The best epoch's state dict (CPU tensors), its number (from 1), and the records of all epochs."""

    state: dict[str, Tensor]
    best_epoch: int
    history: tuple[EpochRecord, ...]


Penalty = Callable[[nn.Module, Tensor], Tensor]
"""Of a model and a batch of images `(batch, *shape)`: a scalar that is added to the loss."""


@dataclass(frozen=True)
class Bookkeeping:
    """What is kept and told of a run, epoch by epoch.

    Attributes:
        resume_path: written after every epoch and continued from if it exists; never deleted here. None keeps nothing.
        on_epoch: called with the record of every epoch of this call, once the resume file is written.
        subject: what is learnt and from what, by name, as far as the state of the model does not tell; a resume file
            of another subject is refused.
    """

    resume_path: str | os.PathLike[str] | None = None
    on_epoch: Callable[[EpochRecord], None] | None = None
    subject: Mapping[str, Any] = field(default_factory=dict)


NOTHING_KEPT = Bookkeeping()


@dataclass(frozen=True)
class _Run:
    """What stays the same over the epochs: who learns from which images and how, and where progress is kept.

    `learner` is `model` as the losses run it.
    """

    model: nn.Module
    learner: nn.Module
    optimizer: Optimizer
    settings: AdversarialSettings
    learning: tuple[Tensor, Tensor]
    validating: tuple[Tensor, Tensor]
    rates: tuple[float, ...]
    lr_factor: Callable[[float], float]
    frozen_statistics: bool
    penalty: Penalty | None
    keeping: Bookkeeping


def run_epochs(
    model: nn.Module,
    optimizer: Optimizer,
    images: Tensor,
    labels: Tensor,
    settings: AdversarialSettings,
    lr_factor: Callable[[float], float],
    *,
    frozen_statistics: bool = False,
    penalty: Penalty | None = None,
    keeping: Bookkeeping = NOTHING_KEPT,
) -> TrainResult:
    """Learns in place; afterwards `model` holds the best epoch's state and its modules their old modes.

    The best epoch has the highest validation accuracy under the one-step attack, in certified training the highest
    certified one among the epochs at whose end epsilon is full; of equals the earliest is taken.
    An epoch is a function of the state before it, the settings and its number: order, augmentation,
    noise and dropout are drawn from streams of the seed, torch's global generator is left as it was.

    Args:
        model: pixels in [0, 1] to logits; learns on its own device.
        optimizer: of the parameters to learn; the groups' learning rates are those at the start.
        images: `(n, *shape)`, in [0, 1], on the CPU; the last `settings.validation` are for validation.
        labels: `(n,)`, int64.
        settings: how.
        lr_factor: of the progress in epochs (`schedule`); multiplies every group's learning rate.
        frozen_statistics: keep batch norms in eval mode.
        penalty: a term of the loss besides that of `settings.method`; None adds nothing.
        keeping: where progress is kept, and who is told of it.

    Raises:
        AbcrownGraftError: the loss became NaN or infinite.
        ConfigError: the augmentation does not suit the images, or validation takes all of them.
        DataError, ModelError: as `check_data`.
        FileFormatError, SettingsDifferError: the resume file is damaged, or of another run.
    """
    _check(model, images, labels, settings)
    split = len(images) - settings.validation
    run = _Run(
        model=model,
        learner=compiled(model) if settings.compile else model,
        optimizer=optimizer,
        settings=settings,
        learning=(images[:split], labels[:split]),
        validating=(images[split:], labels[split:]),
        rates=tuple(group["lr"] for group in optimizer.param_groups),
        lr_factor=lr_factor,
        frozen_statistics=frozen_statistics,
        penalty=penalty,
        keeping=keeping,
    )
    history, best = _restore(run)
    if settings.channels_last:
        nn.utils.convert_conv2d_weight_memory_format(model, torch.channels_last)
    with restored_modes(model):
        for epoch in range(len(history), settings.epochs):
            history.append(_epoch(run, epoch))
            if _best(history, settings) is history[-1]:
                best = _snapshot(model)
            _store(run, history, best)
            if keeping.on_epoch is not None:
                keeping.on_epoch(history[-1])
    model.load_state_dict(best)
    return TrainResult(best, _best(history, settings).epoch, tuple(history))


def _check(model: nn.Module, images: Tensor, labels: Tensor, settings: AdversarialSettings) -> None:
    check_data(model, images, labels)
    if settings.augment != "none" and images.ndim != 4:
        shape = tuple(images.shape[1:])
        raise ConfigError(f"{settings.key('augment')}: {settings.augment!r} needs 3 axes, not {shape}; use 'none'")
    if settings.channels_last and images.ndim != 4:
        raise ConfigError(
            f"{settings.key('channels_last')}: images have {images.ndim - 1} axes, not 3; set it to false"
        )
    if settings.validation >= len(images):
        raise ConfigError(
            f"{settings.key('validation')}: {settings.validation} images leave none of {len(images)} to learn from; "
            "choose a smaller number"
        )


def _best(history: list[EpochRecord], settings: AdversarialSettings) -> EpochRecord:
    """The record that selects the epoch; as long as epsilon is not full, none counts and the first is taken."""

    def score(record: EpochRecord) -> float:
        if record.validation_certified_accuracy is None:
            return record.validation_robust_accuracy
        full = record.epoch >= settings.method.epsilon_is_full_after
        return record.validation_certified_accuracy if full else -1.0

    return max(history, key=score)


def _snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}


def _epoch(run: _Run, epoch: int) -> EpochRecord:
    """Learns once from every training image, then validates; `epoch` counts from 0."""
    began = time.perf_counter()
    set_training(run.model, run.frozen_statistics)
    loss, train_accuracy = _learn(run, epoch)
    clean, robust, certified = _validate(run)
    return EpochRecord(
        epoch=epoch + 1,
        loss=loss,
        train_accuracy=train_accuracy,
        validation_accuracy=clean,
        validation_robust_accuracy=robust,
        lr=run.optimizer.param_groups[0]["lr"],
        seconds=time.perf_counter() - began,
        validation_certified_accuracy=certified,
    )


def _learn(run: _Run, epoch: int) -> tuple[float, float]:
    """One pass over the training images: mean loss, and accuracy at the images that the loss looks at."""
    model, settings, (images, labels) = run.learner, run.settings, run.learning
    device = device_of(model)
    order, noise = stream(settings.seed, _ORDER, epoch), stream(settings.seed, _NOISE, epoch, device=device)
    augment = AUGMENTATIONS[settings.augment]
    total, right = 0.0, 0
    pieces = batches(len(images), settings.batch_size, order)
    with _seeded_globally(seed_of(settings.seed, _GLOBAL, epoch), device):
        for number, index in enumerate(pieces, start=1):
            progress = epoch + (number - 0.5) / len(pieces)
            _set_rates(run, progress)
            x, y = _laid_out(augment(images[index], order), settings).to(device), labels[index].to(device)
            with _autocast(settings, device), explained(settings.key("compile")):
                loss, logits = settings.method.loss(
                    Step(model, x, y, settings.epsilon, settings.attack_step, noise, progress)
                )
                if run.penalty is not None:
                    loss = loss + run.penalty(run.model, x)
            value = loss.item()
            if not math.isfinite(value):
                raise AbcrownGraftError(
                    f"{settings.section}: the loss is {value} in epoch {epoch + 1}, batch {number}; "
                    f"lower {settings.section}.lr ({settings.lr:g})"
                )
            run.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            run.optimizer.step()
            total += value * len(index)
            right += int(hits(logits.detach(), y).sum())
    return total / len(images), right / len(images)


def _set_rates(run: _Run, progress: float) -> None:
    factor = run.lr_factor(progress) * warmup_factor(progress, run.settings.warmup)
    for group, rate in zip(run.optimizer.param_groups, run.rates, strict=True):
        group["lr"] = rate * factor


def _laid_out(images: Tensor, settings: AdversarialSettings) -> Tensor:
    """The images in the memory format that the settings name."""
    return images.contiguous(memory_format=torch.channels_last) if settings.channels_last else images


def _autocast(settings: AdversarialSettings, device: torch.device) -> torch.autocast:
    """Mixed precision inside, unless the settings say float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16")


def batches(count: int, size: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """A random permutation of `range(count)` in pieces of `size`.

    The last piece may be shorter, but a single left-over joins the piece before it: batch norm has no
    variance of one image.

    Args:
        count: number of images.
        size: images of a batch.
        generator: of the permutation.
    """
    order = torch.randperm(count, generator=generator)
    pieces = order.split(size)
    if 1 == len(pieces[-1]) < size and len(pieces) > 1:
        return *pieces[:-2], torch.cat(pieces[-2:])
    return pieces


@contextmanager
def _seeded_globally(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's global generators seeded (dropout draws from them), and put back afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _validate(run: _Run) -> tuple[float, float, float | None]:
    """Clean, one-step robust and certified accuracy; the attack's noise is the same in every epoch."""
    model, settings = run.model, run.settings
    clean = correct(model, *run.validating).double().mean().item()
    seed = seed_of(settings.seed, _VALIDATION)
    robust = one_step_accuracy(model, *run.validating, settings.epsilon, settings.attack_step, seed)
    bounds = settings.method.certified_by
    if not bounds:
        return clean, robust, None
    return clean, robust, certified_accuracy(model, *run.validating, settings.epsilon, bounds == "crown")


def _store(run: _Run, history: list[EpochRecord], best: dict[str, Tensor]) -> None:
    if run.keeping.resume_path is None:
        return
    progress = {
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "history": [asdict(record) for record in history],
        "best": best,
    }
    save_progress(run.keeping.resume_path, run.settings, run.keeping.subject, progress)


def _restore(run: _Run) -> tuple[list[EpochRecord], dict[str, Tensor]]:
    """Model and optimizer as after the last stored epoch; its history and best state, both empty at the start."""
    path = run.keeping.resume_path
    progress = None if path is None else load_progress(path, run.settings, run.keeping.subject)
    if progress is None:
        return [], {}
    try:
        history = [EpochRecord(**record) for record in progress["history"]]
        if not history:
            raise ValueError("no finished epoch")
        for state in (progress["best"], progress["model"]):
            run.model.load_state_dict(state)
        run.optimizer.load_state_dict(progress["optimizer"])
    except Exception as error:  # torch raises whatever a state dict of something else leads to
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileFormatError(f"{path}: of another model ({reason}); delete it to start anew") from error
    return history, progress["best"]
