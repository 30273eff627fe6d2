"""Adversarial training with several gradient steps: PGD's cross-entropy, and TRADES.

Sources: Madry et al., *Towards deep learning models resistant to adversarial attacks*, ICLR 2018 (eq. 2.1 and
section 4); Zhang et al., *Theoretically principled trade-off between robustness and accuracy*, ICML 2019 (eq. 5).
Attacks look at the model in eval mode; only the losses see train mode.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abcrown_graft.training.fat import BatchLoss, LogitLoss, cross_entropy_of, signed_ascent, uniform_noise
from abcrown_graft.training.modes import evaluating
from abcrown_graft.training.settings import AdversarialSettings

TRADES_START = 1e-3  # standard deviation of the start around the clean image, where the divergence has no gradient


def pgd_loss(
    model: nn.Module, images: Tensor, labels: Tensor, settings: AdversarialSettings, generator: torch.Generator
) -> BatchLoss:
    """Cross-entropy where projected gradient ascent on it, from δ ~ U(−ε, ε), has ended.

    Args:
        model: maps pixels in [0, 1] to logits, in the mode it learns in.
        images: `(batch, *shape)`, in [0, 1].
        labels: `(batch,)`, int64.
        settings: radius, steps and weights.
        generator: of the noise.
    """
    start = uniform_noise(images, settings.epsilon, generator)
    logits = model(images + ascend(model, images, start, cross_entropy_of(labels), settings))
    return BatchLoss(F.cross_entropy(logits, labels), logits)


def trades_loss(
    model: nn.Module, images: Tensor, labels: Tensor, settings: AdversarialSettings, generator: torch.Generator
) -> BatchLoss:
    """Cross-entropy of the clean images plus β · KL(p(x) ‖ p(x + δ)), where δ makes that divergence large.

    Args:
        model: maps pixels in [0, 1] to logits, in the mode it learns in.
        images: `(batch, *shape)`, in [0, 1].
        labels: `(batch,)`, int64.
        settings: radius, steps and weights.
        generator: of the noise.
    """
    noise = torch.randn(images.shape, generator=generator, dtype=images.dtype, device=generator.device)
    with evaluating(model), torch.no_grad():
        before = model(images).log_softmax(1)
    delta = ascend(
        model, images, TRADES_START * noise.to(images.device), lambda logits: _divergence(before, logits), settings
    )
    clean, perturbed = model(images), model(images + delta)
    divergence = _divergence(clean.log_softmax(1), perturbed) / len(images)
    return BatchLoss(F.cross_entropy(clean, labels) + settings.trades_beta * divergence, perturbed)


def ascend(model: nn.Module, images: Tensor, start: Tensor, loss: LogitLoss, settings: AdversarialSettings) -> Tensor:
    """δ that raises a loss of the logits `(batch, classes)`, a sum over images, by the steps of the settings.

    Args:
        model: maps pixels in [0, 1] to logits; looked at in eval mode.
        images: `(batch, *shape)`, in [0, 1].
        start: δ to start from, shaped like `images`.
        loss: what is to be raised.
        settings: radius, number and size of the steps.
    """
    size = settings.pgd_step * settings.epsilon / settings.pgd_steps
    return signed_ascent(model, images, start, loss, settings.epsilon, settings.pgd_steps, size)


def _divergence(clean: Tensor, perturbed: Tensor) -> Tensor:
    """Σ KL(p ‖ q) over the batch; log-probabilities of p and logits of q, `(batch, classes)`."""
    return F.kl_div(perturbed.log_softmax(1), clean, reduction="sum", log_target=True)
