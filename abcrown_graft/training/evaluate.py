"""Clean accuracy and the one definition of robust accuracy (RA) that every report uses."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from abcrown_graft.errors import ConfigError
from abcrown_graft.training.checks import check_data
from abcrown_graft.training.fat import cross_entropy_of, fat_perturbation, signed_ascent
from abcrown_graft.training.modes import device_of, evaluating
from abcrown_graft.training.seeds import stream


def accuracy(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 500) -> float:
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


def pgd_accuracy(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    steps: int = 100,
    step: float = 2.5,
    restarts: int = 1,
    seed: int = 0,
    batch_size: int = 500,
) -> float:
    """Robust accuracy: the share of images for which `pgd_robust` holds, in [0, 1]."""
    return pgd_robust(model, images, labels, epsilon, steps, step, restarts, seed, batch_size).double().mean().item()


def pgd_robust(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    steps: int = 100,
    step: float = 2.5,
    restarts: int = 1,
    seed: int = 0,
    batch_size: int = 500,
) -> Tensor:
    """Which images withstand projected gradient ascent on the cross-entropy.

    From δ ~ U(−ε, ε), `steps` times δ ← clip(δ + step·ε/steps·sign ∇CE(x + δ)), clipping to ±ε and to
    valid pixels, the start too. An image is robust if it is classified correctly without perturbation
    and at the *final* iterate of every restart; earlier iterates do not count, as in the published
    evaluation (PGD-100, one start). The noise of an image depends on `seed`, the restart and the image's
    index alone, so `batch_size` matters only through the rounding of the model's arithmetic.

    Args:
        model: evaluated in eval mode on its own device, modes restored.
        images: `(n, *shape)`, in [0, 1].
        labels: `(n,)`, int64.
        epsilon: radius in pixel units.
        steps: gradient steps per restart.
        step: step size in units of epsilon / steps.
        restarts: random starts.
        seed: of the random starts, at least 0.
        batch_size: images at a time.

    Returns:
        `(n,)` booleans on the CPU.

    Raises:
        ConfigError: a number is out of range.
        DataError: images, labels and model do not fit together.
        ModelError: the logits are not finite.
    """
    _check_attack(epsilon=epsilon, steps=steps, step=step, restarts=restarts, seed=seed, batch_size=batch_size)
    check_data(model, images, labels)
    # A misclassified image, or one lost at an earlier restart, cannot become robust again: attack the rest.
    robust = correct(model, images, labels, batch_size)
    with evaluating(model):
        for restart in range(restarts):
            if not robust.any():
                break
            for index in robust.nonzero().flatten().split(batch_size):
                start = _starts(index, images[index], epsilon, seed, restart)
                robust[index] = _withstands(model, images[index], labels[index], start, epsilon, steps, step)
    return robust


def one_step_accuracy(
    model: nn.Module, images: Tensor, labels: Tensor, epsilon: float, step: float, seed: int, batch_size: int = 500
) -> float:
    """Accuracy under the one-step attack of FAT (`fat_perturbation`), the same noise at every call with `seed`."""
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


def correct(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 500) -> Tensor:
    """Which images are classified correctly, `(n,)` booleans on the CPU; nothing is checked."""
    device = device_of(model)
    with evaluating(model), torch.no_grad():
        pairs = zip(images.split(batch_size), labels.split(batch_size), strict=True)
        return torch.cat([hits(model(x.to(device)), y.to(device)).cpu() for x, y in pairs])


def hits(logits: Tensor, labels: Tensor) -> Tensor:
    """Where the largest logit is the label's, `(batch,)` booleans; NaN or infinite logits never hit."""
    return (logits.argmax(1) == labels) & logits.isfinite().all(1)


def _starts(index: Tensor, images: Tensor, epsilon: float, seed: int, restart: int) -> Tensor:
    """Uniform noise in [−ε, ε] for the images numbered `index`, each from a stream of its own."""
    shape = images.shape[1:]
    units = [np.random.default_rng((seed, restart, i)).random(shape, dtype=np.float32) for i in index.tolist()]
    return (torch.from_numpy(np.stack(units)).to(images.dtype) * 2 - 1) * epsilon


def _withstands(
    model: nn.Module, images: Tensor, labels: Tensor, start: Tensor, epsilon: float, steps: int, step: float
) -> Tensor:
    """Whether each image of the batch is still classified correctly after the attack from `start`."""
    device = device_of(model)
    images, labels = images.to(device), labels.to(device)
    loss, size = cross_entropy_of(labels), step * epsilon / steps
    delta = signed_ascent(model, images, start.to(device), loss, epsilon, steps, size)
    with torch.no_grad():
        return hits(model(images + delta), labels).cpu()


def _check_attack(*, epsilon: float, steps: int, step: float, restarts: int, seed: int, batch_size: int) -> None:
    if not 0.0 <= epsilon <= 1.0:
        raise ConfigError(f"PGD epsilon must lie in [0, 1] (pixel units), not {epsilon!r}")
    if not step > 0.0:
        raise ConfigError(f"PGD step must be more than 0, not {step!r}")
    for name, value in (("steps", steps), ("restarts", restarts), ("batch_size", batch_size)):
        if value < 1:
            raise ConfigError(f"PGD {name} must be at least 1, not {value!r}")
    if seed < 0:
        raise ConfigError(f"PGD seed must be at least 0, not {seed!r}")
