"""Clean accuracy and the one definition of robust accuracy (RA) that every report uses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from abcrown_graft.errors import ConfigError
from abcrown_graft.training.checks import check_data
from abcrown_graft.training.fat import cross_entropy_of, fat_perturbation, signed_ascent
from abcrown_graft.training.modes import device_of, evaluating
from abcrown_graft.training.seeds import stream

BATCH = 500  # images at a time


def accuracy(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int = BATCH) -> float:
    """The share of images whose largest logit is that of their label, in [0, 1].

    Args:
        model: evaluated in eval mode on its own device, modes restored.
        images: `(n, *shape)`, in [0, 1].
        labels: `(n,)`, int64.
        batch_size: images at a time.

    Raises:
        DataError: images, labels and model do not fit together.
        ModelError: the logits are not finite.
    """
    check_data(model, images, labels)
    return correct(model, images, labels, batch_size).double().mean().item()


@dataclass(frozen=True, kw_only=True)
class PgdAttack:
    """Projected gradient ascent on the cross-entropy.

    From δ ~ U(−ε, ε), `steps` times δ ← clip(δ + step·ε/steps·sign ∇CE(x + δ)), clipping to ±ε and to
    valid pixels, the start too.

    Attributes:
        epsilon: radius in pixel units, in [0, 1].
        steps: gradient steps per restart.
        step: step size in units of epsilon / steps.
        restarts: random starts.
        seed: of the random starts, at least 0.

    Raises:
        ConfigError: a number is out of range.
    """

    epsilon: float
    steps: int = 100
    step: float = 2.5
    restarts: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.epsilon <= 1.0:
            raise ConfigError(f"PGD epsilon must lie in [0, 1] (pixel units), not {self.epsilon!r}")
        if not self.step > 0.0:
            raise ConfigError(f"PGD step must be more than 0, not {self.step!r}")
        for name, value, least in (("steps", self.steps, 1), ("restarts", self.restarts, 1), ("seed", self.seed, 0)):
            if value < least:
                raise ConfigError(f"PGD {name} must be at least {least}, not {value!r}")


def pgd_accuracy(model: nn.Module, images: Tensor, labels: Tensor, attack: PgdAttack, batch_size: int = BATCH) -> float:
    """Robust accuracy: the share of images for which `pgd_robust` holds, in [0, 1]; the same arguments and errors.

    Args:
        model, images, labels: as of `pgd_robust`.
        attack: how the images are attacked.
        batch_size: images at a time.
    """
    return pgd_robust(model, images, labels, attack, batch_size).double().mean().item()


def pgd_robust(model: nn.Module, images: Tensor, labels: Tensor, attack: PgdAttack, batch_size: int = BATCH) -> Tensor:
    """Which images withstand an attack.

    An image is robust if it is classified correctly without perturbation and at the *final* iterate of every
    restart; earlier iterates do not count, as in the published evaluation (PGD-100, one start). The noise of an
    image depends on the seed, the restart and the image's index alone, so `batch_size` matters only through the
    rounding of the model's arithmetic.

    Args:
        model: evaluated in eval mode on its own device, modes restored.
        images: `(n, *shape)`, in [0, 1].
        labels: `(n,)`, int64.
        attack: how they are attacked.
        batch_size: images at a time.

    Returns:
        `(n,)` booleans on the CPU.

    Raises:
        ConfigError: `batch_size` is less than 1.
        DataError: images, labels and model do not fit together.
        ModelError: the logits are not finite.
    """
    if batch_size < 1:
        raise ConfigError(f"PGD batch_size must be at least 1, not {batch_size!r}")
    check_data(model, images, labels)
    # A misclassified image, or one lost at an earlier restart, cannot become robust again: attack the rest.
    robust = correct(model, images, labels, batch_size)
    with evaluating(model):
        for restart in range(attack.restarts):
            if not robust.any():
                break
            for index in robust.nonzero().flatten().split(batch_size):
                start = _starts(index, images[index], attack, restart)
                robust[index] = _withstands(model, images[index], labels[index], start, attack)
    return robust


def one_step_accuracy(
    model: nn.Module, images: Tensor, labels: Tensor, epsilon: float, step: float, seed: int, batch_size: int = BATCH
) -> float:
    """Accuracy under the one-step attack of FAT (`fat_perturbation`), the same noise at every call with `seed`.

    Args:
        model: evaluated in eval mode on its own device, modes restored.
        images, labels: `(n, *shape)` in [0, 1], and `(n,)`.
        epsilon: radius in pixel units.
        step: step size in units of `epsilon`.
        seed: of the random starts.
        batch_size: images at a time.
    """
    device = device_of(model)
    generator = stream(seed, device=device)
    right = 0
    with evaluating(model):
        for x, y in zip(images.split(batch_size), labels.split(batch_size), strict=True):
            x, y = x.to(device), y.to(device)
            delta = fat_perturbation(model, x, y, epsilon, step, generator)
            with torch.no_grad():
                right += int(hits(model(x + delta), y).sum())
    return right / len(images)


def correct(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int = BATCH) -> Tensor:
    """Which images are classified correctly, `(n,)` booleans on the CPU; nothing is checked.

    Args:
        model: evaluated in eval mode on its own device, modes restored.
        images, labels: `(n, *shape)` in [0, 1], and `(n,)`.
        batch_size: images at a time.
    """
    device = device_of(model)
    with evaluating(model), torch.no_grad():
        pairs = zip(images.split(batch_size), labels.split(batch_size), strict=True)
        return torch.cat([hits(model(x.to(device)), y.to(device)).cpu() for x, y in pairs])


def hits(logits: Tensor, labels: Tensor) -> Tensor:
    """Where the largest logit is the label's, `(batch,)` booleans; NaN or infinite logits never hit."""
    return (logits.argmax(1) == labels) & logits.isfinite().all(1)


def _starts(index: Tensor, images: Tensor, attack: PgdAttack, restart: int) -> Tensor:
    """Uniform noise in [−ε, ε] for the images numbered `index`, each from a stream of its own."""
    shape = images.shape[1:]
    units = [np.random.default_rng((attack.seed, restart, i)).random(shape, dtype=np.float32) for i in index.tolist()]
    return (torch.from_numpy(np.stack(units)).to(images.dtype) * 2 - 1) * attack.epsilon


def _withstands(model: nn.Module, images: Tensor, labels: Tensor, start: Tensor, attack: PgdAttack) -> Tensor:
    """Whether each image of the batch is still classified correctly after the attack from `start`."""
    device = device_of(model)
    images, labels = images.to(device), labels.to(device)
    loss, size = cross_entropy_of(labels), attack.step * attack.epsilon / attack.steps
    delta = signed_ascent(model, images, start.to(device), loss, attack.epsilon, attack.steps, size)
    with torch.no_grad():
        return hits(model(images + delta), labels).cpu()
