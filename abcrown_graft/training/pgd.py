"""The attack of several gradient steps that the methods `pgd` and `trades` train against.

Attacks look at the model in eval mode.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from abcrown_graft.training.fat import LogitLoss, signed_ascent


def ascend(
    model: nn.Module, images: Tensor, start: Tensor, loss: LogitLoss, epsilon: float, steps: int, size: float
) -> Tensor:
    """δ that raises a loss of the logits `(batch, classes)`, a sum over images.

    Args:
        model, images, start, loss, epsilon: as for `signed_ascent`.
        steps: their number.
        size: of a step, in units of epsilon / steps.
    """
    return signed_ascent(model, images, start, loss, epsilon, steps, size * epsilon / steps)


def divergence(clean: Tensor, perturbed: Tensor) -> Tensor:
    """Σ KL(p ‖ q) over the batch; log-probabilities of p and logits of q, `(batch, classes)`."""
    return F.kl_div(perturbed.log_softmax(1), clean, reduction="sum", log_target=True)
