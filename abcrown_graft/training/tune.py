"""Graft tuning: the same loss, a cosine rate, and a gentler start for weights than for slopes and intercepts."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import SGD

from abcrown_graft.errors import MaskError
from abcrown_graft.nn.surgery import grafted_modules
from abcrown_graft.training.loop import NOTHING_KEPT, Bookkeeping, TrainResult, run_epochs
from abcrown_graft.training.modes import frozen
from abcrown_graft.training.penalties import tuning_penalty
from abcrown_graft.training.schedule import cosine_factor
from abcrown_graft.training.settings import TuneSettings


def tune(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    settings: TuneSettings,
    keeping: Bookkeeping = NOTHING_KEPT,
) -> TrainResult:
    """Tunes a grafted network in place; it ends with the best epoch's state.

    With `settings.freeze_weights` nothing but slopes and intercepts changes: weights need no gradient
    and batch norms keep their running statistics. With `settings.prune` slopes and intercepts become 0 and
    nothing but the weights changes: the grafted neurons are pruned ones.

    Args:
        model: has `GraftedReLU` modules; pixels `(batch, *shape)` in [0, 1] to logits `(batch, classes)`.
        images: `(n, *shape)`, in [0, 1]; the last `settings.validation` select the best epoch.
        labels: `(n,)`, int64.
        settings: how.
        keeping: where progress is kept, and who is told of it; a resume file that began with another model
            (`state_digest`) is refused.

    Raises:
        MaskError: `model` has no grafted activation.
        AbcrownGraftError: as `run_epochs`.
    """
    grafted, others = split_parameters(model)
    if settings.prune:
        prune(grafted)
    groups = parameter_groups(grafted, others, settings)
    optimizer = SGD(groups, lr=settings.lr, momentum=settings.momentum)
    if keeping.resume_path is not None:
        keeping = replace(keeping, subject={**keeping.subject, "the start": state_digest(model)})
    penalized = settings.slope_decay > 0 or settings.relu_stability > 0
    with frozen(_fixed(grafted, others, settings)):
        return run_epochs(
            model,
            optimizer,
            images,
            labels,
            settings,
            partial(cosine_factor, epochs=settings.epochs),
            frozen_statistics=settings.freeze_weights,
            penalty=partial(tuning_penalty, settings=settings) if penalized else None,
            keeping=keeping,
        )


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The slopes and intercepts of all grafted activations, and all other parameters.

    Raises:
        MaskError: there is no grafted activation.
    """
    grafted = [parameter for module in grafted_modules(model).values() for parameter in module.parameters()]
    if not grafted:
        raise MaskError("the model has no grafted activation to tune; graft a mask into it first")
    known = {id(parameter) for parameter in grafted}
    return grafted, [parameter for parameter in model.parameters() if id(parameter) not in known]


@torch.no_grad()
def prune(grafted: list[nn.Parameter]) -> None:
    """Makes all given slopes and intercepts 0."""
    for parameter in grafted:
        parameter.zero_()


def _fixed(grafted: list[nn.Parameter], others: list[nn.Parameter], settings: TuneSettings) -> list[nn.Parameter]:
    """The parameters that do not learn."""
    return [*(others if settings.freeze_weights else ()), *(grafted if settings.prune else ())]


def parameter_groups(
    grafted: list[nn.Parameter], others: list[nn.Parameter], settings: TuneSettings
) -> list[dict[str, object]]:
    """SGD's groups: weights first, then slopes and intercepts without weight decay; what does not learn is in none.

    Args:
        grafted: slopes and intercepts.
        others: all other parameters.
        settings: learning rates, weight decay, and what stays fixed.
    """
    weights = {"params": others, "lr": settings.lr, "weight_decay": settings.weight_decay}
    slopes = {"params": grafted, "lr": settings.slope_lr, "weight_decay": 0.0}
    if settings.prune:
        return [weights]
    return [slopes] if settings.freeze_weights or not others else [weights, slopes]


def state_digest(model: nn.Module) -> str:
    """SHA-256 over names, shapes and values of the state dict: tells one starting point from another.

    Fitted lines do not count: another number of threads rounds them differently, and the resume file holds them.
    """
    digest, left_out = hashlib.sha256(), _fitted_lines(model)
    for name, value in model.state_dict().items():
        if name in left_out:
            continue
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _fitted_lines(model: nn.Module) -> set[str]:
    """The names of all slopes and intercepts, if some differ from neuron to neuron; else they are settings."""
    sites = grafted_modules(model).items()
    lines = {f"{site}.{part}": getattr(module, part) for site, module in sites for part in ("slope", "intercept")}
    return set(lines) if any(len(values.unique()) > 1 for values in lines.values()) else set()
