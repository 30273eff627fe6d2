"""The losses of training and tuning, by the name of the method."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from abcrown_graft.registry import Registry
from abcrown_graft.training.certified import certified_loss
from abcrown_graft.training.fat import BatchLoss, fat_loss
from abcrown_graft.training.pgd import pgd_loss, trades_loss
from abcrown_graft.training.settings import CERTIFIED, AdversarialSettings

Loss = Callable[[nn.Module, Tensor, Tensor, AdversarialSettings, torch.Generator, float], BatchLoss]
"""Of a model in the mode it learns in, images, labels, settings, generator of noise, and progress in epochs."""

LOSSES: Registry[Loss] = Registry("training method")

_Adversarial = Callable[[nn.Module, Tensor, Tensor, AdversarialSettings, torch.Generator], BatchLoss]


def _steady(loss: _Adversarial) -> Loss:
    """A loss that is the same in every epoch."""
    return lambda model, images, labels, settings, noise, progress: loss(model, images, labels, settings, noise)


def _certified(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    settings: AdversarialSettings,
    noise: torch.Generator,
    progress: float,
) -> BatchLoss:
    return certified_loss(model, images, labels, settings, progress)


LOSSES.register("fat")(_steady(fat_loss))
LOSSES.register("pgd")(_steady(pgd_loss))
LOSSES.register("trades")(_steady(trades_loss))
for _name in CERTIFIED:
    LOSSES.register(_name)(_certified)
