"""Fast adversarial training: the one-step perturbation, GradAlign, and the loss made of both.

Sources: Wong et al., *Fast is better than free*, ICLR 2020 (one step from a random start);
Andriushchenko and Flammarion, *Understanding and improving fast adversarial training*, NeurIPS 2020
(GradAlign, eq. 7). Both look at the model in eval mode, i.e. at the function that is deployed; only
the loss itself sees train mode. Noise is drawn on the generator's device.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abcrown_graft.training.compiled import uncompiled
from abcrown_graft.training.method import BatchLoss
from abcrown_graft.training.modes import evaluating, frozen
from abcrown_graft.training.second_order import input_gradient_first

LogitLoss = Callable[[Tensor], Tensor]
"""Of logits `(batch, classes)`: a scalar, the sum over the images of what depends on each alone."""


def perturbation_box(images: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Lower and upper limits of δ, each shaped like `images`: |δ| ≤ ε and x + δ in [0, 1]."""
    return (-images).clamp(min=-epsilon), (1 - images).clamp(max=epsilon)


def input_gradient(model: nn.Module, images: Tensor, labels: Tensor, create_graph: bool = False) -> Tensor:
    """The gradient of every image's cross-entropy with respect to its own pixels, shaped like `images`.

    Needs a model that treats images independently (eval mode). It is the gradient of the batch's mean
    cross-entropy up to the factor `batch`, and unlike that the same in any batch. With `create_graph` it can be
    differentiated once more, in the model's parameters; without it they are constants meanwhile.

    Args:
        model: maps pixels in [0, 1] to logits.
        images, labels: `(batch, *shape)` in [0, 1], and `(batch,)`.
        create_graph: make the gradient differentiable.
    """
    return _gradient(model, images, cross_entropy_of(labels), create_graph)


def cross_entropy_of(labels: Tensor) -> LogitLoss:
    """The sum of the images' cross-entropies."""
    return partial(F.cross_entropy, target=labels, reduction="sum")


def _gradient(model: nn.Module, images: Tensor, loss: LogitLoss, create_graph: bool = False) -> Tensor:
    """As `input_gradient`, of any loss."""
    point = images.detach().requires_grad_()
    with torch.enable_grad(), input_gradient_first(point) if create_graph else frozen(model.parameters()):
        return torch.autograd.grad(loss(model(point)), point, create_graph=create_graph)[0]


def signed_ascent(
    model: nn.Module,
    images: Tensor,
    start: Tensor,
    loss: LogitLoss,
    epsilon: float,
    steps: int,
    size: float,
) -> Tensor:
    """Signed-gradient steps for the model in eval mode; the modes of its modules are put back.

    Args:
        model: maps pixels in [0, 1] to logits.
        images: `(batch, *shape)`, in [0, 1].
        start: δ to start from, shaped like `images`; it is clipped.
        loss: what is to be raised.
        epsilon: radius in pixel units.
        steps, size: number of steps and their size in pixel units.

    Returns:
        δ, shaped like `images`, with |δ| ≤ ε and images + δ in [0, 1].
    """
    lower, upper = perturbation_box(images, epsilon)
    delta = start.clamp(lower, upper)
    with evaluating(model):
        for _ in range(steps):
            delta = (delta + size * _gradient(model, images + delta, loss).sign()).clamp(lower, upper)
    return delta


def uniform_noise(images: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
    """δ ~ U(−ε, ε), shaped like `images` and on their device.

    Args:
        images: `(batch, *shape)`; they say shape, type and device.
        epsilon: radius in pixel units.
        generator: on any device; the noise is drawn there.
    """
    unit = torch.rand(images.shape, generator=generator, dtype=images.dtype, device=generator.device)
    return (unit.to(images.device) * 2 - 1) * epsilon


def fat_perturbation(
    model: nn.Module, images: Tensor, labels: Tensor, epsilon: float, step: float, generator: torch.Generator
) -> Tensor:
    """One signed-gradient step from a random start; the modes of the model's modules are left as they were.

    Args:
        model: maps pixels in [0, 1] to logits.
        images: `(batch, *shape)`, in [0, 1].
        labels: `(batch,)`.
        epsilon: radius in pixel units.
        step: step size in units of `epsilon`.
        generator: of the random start.

    Returns:
        δ, shaped like `images`, with |δ| ≤ ε and images + δ in [0, 1].
    """
    start = uniform_noise(images, epsilon, generator)
    return signed_ascent(model, images, start, cross_entropy_of(labels), epsilon, 1, step * epsilon)


def gradalign(model: nn.Module, images: Tensor, labels: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
    """1 − mean cos(g₁, g₂), g₁ the input gradient at δ = 0 (detached), g₂ at fresh uniform noise (differentiable).

    The noise is not clipped to valid pixels. Images one of whose gradients is exactly zero are left out;
    if that is all of them the result is 0.

    Args:
        model: maps pixels in [0, 1] to logits; looked at in eval mode.
        images, labels: `(batch, *shape)` in [0, 1], and `(batch,)`.
        epsilon: radius of the noise in pixel units.
        generator: of the noise.

    Returns:
        A scalar in [0, 2].
    """
    noisy = images + uniform_noise(images, epsilon, generator)
    with evaluating(model):
        first = input_gradient(model, images, labels).flatten(1)
        second = input_gradient(uncompiled(model), noisy, labels, create_graph=True).flatten(1)
    first_size, second_size = _size(first), _size(second)
    kept = ((first_size > 0) & (second_size > 0)).flatten().nonzero().flatten()
    if len(kept) == 0:
        return images.new_zeros(())
    # Confident images have gradients whose squares underflow: scale before taking norms.
    first, second = first[kept] / first_size[kept], second[kept] / second_size[kept]
    cosine = (first * second).sum(1) / (first.norm(dim=1) * second.norm(dim=1))
    return 1 - cosine.mean()


def _size(gradient: Tensor) -> Tensor:
    """The largest |entry| of each row `(batch, 1)`, detached; 0 where it is too small to divide by."""
    size = gradient.detach().abs().amax(1, keepdim=True)
    return size.where(size >= torch.finfo(size.dtype).tiny, 0.0)


def fat_loss(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    step: float,
    weight: float,
    generator: torch.Generator,
) -> BatchLoss:
    """Cross-entropy at the FAT perturbation in the model's own mode, plus the weighted GradAlign term.

    Args:
        model, images, labels, epsilon, step, generator: as for `fat_perturbation`.
        weight: of the GradAlign term; 0 leaves it out.
    """
    delta = fat_perturbation(model, images, labels, epsilon, step, generator)
    logits = model(images + delta)
    loss = F.cross_entropy(logits, labels)
    if weight > 0:
        # After the pass in train mode: that one updates the running statistics which this graph refers to.
        loss = loss + weight * gradalign(model, images, labels, epsilon, generator)
    return BatchLoss(loss, logits)
