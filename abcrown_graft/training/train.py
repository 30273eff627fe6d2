"""Robust training of a plain network: SGD with a schedule."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.optim import SGD

from abcrown_graft.training.loop import NOTHING_KEPT, Bookkeeping, TrainResult, run_epochs
from abcrown_graft.training.schedule import cosine_factor, linear_factor, milestone_factor
from abcrown_graft.training.settings import TrainSettings


def train(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    settings: TrainSettings,
    keeping: Bookkeeping = NOTHING_KEPT,
) -> TrainResult:
    """Trains `model` in place by the method that the settings name; it ends with the best epoch's state.

    A resumed run continues from the stored weights: the ones that `model` comes with do not matter then.

    Args:
        model: pixels `(batch, *shape)` in [0, 1] to logits `(batch, classes)`.
        images: `(n, *shape)`, in [0, 1]; the last `settings.validation` select the best epoch.
        labels: `(n,)`, int64.
        settings: how.
        keeping: where progress is kept, and who is told of it.

    Raises:
        AbcrownGraftError: as `run_epochs`.
    """
    optimizer = SGD(model.parameters(), lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay)
    return run_epochs(model, optimizer, images, labels, settings, _schedule(settings), keeping=keeping)


def _schedule(settings: TrainSettings) -> Callable[[float], float]:
    """The learning rate's factor as a function of progress in epochs."""
    if settings.schedule == "multistep":
        return partial(milestone_factor, milestones=settings.milestones, factor=settings.lr_factor)
    return partial(cosine_factor if settings.schedule == "cosine" else linear_factor, epochs=settings.epochs)
