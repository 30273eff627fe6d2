"""How torch modules become operators: one rule per module type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.network import operators as op
from abcrown_graft.nn.activation import GraftedReLU

ModuleRule = Callable[[Any, tuple[int, ...]], "op.Operator | None"]
"""Takes a module and the shape of its output (no batch); returns its operator, None for the identity."""

MODULE_RULES: dict[type, ModuleRule] = {}


def _rule(*kinds: type) -> Callable[[ModuleRule], ModuleRule]:
    """A decorator that files a rule under module types; subclasses do not inherit it."""

    def file(rule: ModuleRule) -> ModuleRule:
        MODULE_RULES.update(dict.fromkeys(kinds, rule))
        return rule

    return file


def pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    """A size given once for both axes, or for each."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def leaky_relu(slope: float) -> op.Operator:
    """The operator of a leaky ReLU.

    Raises:
        UnsupportedError: its negative slope is outside [0, 1], so that it is not convex and monotone.
    """
    if not 0 <= slope <= 1:
        raise UnsupportedError(f"LeakyReLU with negative_slope {slope}; it must lie in [0, 1]")
    return op.LeakyReLU(float(slope))


def grafted_relu(module: GraftedReLU) -> op.Operator:
    """The operator of a grafted activation."""
    return op.GraftedReLU(module.mask, module.slope, module.intercept)


def _bias(module: nn.Conv2d | nn.Linear) -> Tensor:
    return module.weight.new_zeros(len(module.weight)) if module.bias is None else module.bias


@_rule(nn.Conv2d)
def _conv2d(module: nn.Conv2d, shape: tuple[int, ...]) -> op.Operator:
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise UnsupportedError(f"Conv2d with padding {module.padding_mode!r}/{module.padding!r}; use zero padding")
    stride, padding, dilation = pair(module.stride), pair(module.padding), pair(module.dilation)
    return op.Conv2d(module.weight, _bias(module), stride, padding, dilation, module.groups)


@_rule(nn.Linear)
def _linear(module: nn.Linear, shape: tuple[int, ...]) -> op.Operator:
    if len(shape) != 1:
        raise UnsupportedError(f"Linear on a tensor of shape {shape}; flatten it first")
    return op.Linear(module.weight, _bias(module))


@_rule(nn.BatchNorm1d, nn.BatchNorm2d)
def _batch_norm(module: nn.BatchNorm1d | nn.BatchNorm2d, shape: tuple[int, ...]) -> op.Operator:
    if module.running_mean is None or module.running_var is None:
        raise UnsupportedError("batch normalisation without running statistics")
    double = torch.float64
    scale = torch.rsqrt(module.running_var.to(double) + module.eps)
    shift = -module.running_mean.to(double) * scale
    if module.affine:
        weight, bias = module.weight.to(double), module.bias.to(double)
        scale, shift = scale * weight, shift * weight + bias
    channels = (-1,) + (1,) * (len(shape) - 1)
    dtype = module.running_mean.dtype
    return op.Scale(scale.to(dtype).view(channels), shift.to(dtype).view(channels))


def batch_norm_steps(module: Any, shape: tuple[int, ...]) -> tuple[op.Scale, op.Scale]:
    """A batch normalisation as two operators, so that the magnitude of each of its terms shows."""
    mean = module.running_mean.view(-1, *(1,) * (len(shape) - 1))
    whole = _batch_norm(module, shape)
    assert isinstance(whole, op.Scale)
    return op.Scale(torch.ones_like(mean), -mean), op.Scale(whole.scale, whole.shift + whole.scale * mean)


@_rule(nn.AvgPool2d)
def _avg_pool(module: nn.AvgPool2d, shape: tuple[int, ...]) -> op.Operator:
    padding = pair(module.padding)
    if module.ceil_mode or module.divisor_override or (any(padding) and not module.count_include_pad):
        raise UnsupportedError("AvgPool2d with ceil_mode, divisor_override or count_include_pad=False")
    return op.AvgPool2d(pair(module.kernel_size), pair(module.stride), padding)


@_rule(nn.ZeroPad2d)
def _zero_pad(module: nn.ZeroPad2d, shape: tuple[int, ...]) -> op.Operator:
    return op.Pad(tuple(module.padding))


@_rule(nn.LeakyReLU)
def _leaky(module: nn.LeakyReLU, shape: tuple[int, ...]) -> op.Operator:
    return leaky_relu(module.negative_slope)


@_rule(nn.Flatten, nn.Unflatten)
def _reshape(module: nn.Module, shape: tuple[int, ...]) -> op.Operator:
    return op.Reshape(shape)


@_rule(nn.Identity, nn.Dropout, nn.Dropout2d)
def _identity(module: nn.Module, shape: tuple[int, ...]) -> None:
    return None
