"""Train and eval mode of modules: set for a while, put back module by module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def restored_modes(model: nn.Module) -> Iterator[None]:
    """Whatever happens inside, every module of `model` has its old mode afterwards."""
    before = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """`model` in eval mode: running statistics are used and not touched, dropout is off."""
    with restored_modes(model):
        model.eval()
        yield


def set_training(model: nn.Module, frozen_statistics: bool) -> None:
    """Puts `model` into train mode; with `frozen_statistics` its batch norms stay in eval mode."""
    model.train()
    if frozen_statistics:
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


@contextmanager
def frozen(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Inside, `parameters` need no gradient; afterwards each needs one if it did before."""
    before = [(parameter, parameter.requires_grad) for parameter in parameters]
    try:
        for parameter, _ in before:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter, needed in before:
            parameter.requires_grad_(needed)


def device_of(model: nn.Module) -> torch.device:
    """Where the first parameter or buffer of `model` lies; the CPU if it has none."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")
