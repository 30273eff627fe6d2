"""How traced functions and tensor methods become operators: one rule per call."""

from __future__ import annotations

import operator as python
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.network import operators as op
from abcrown_graft.network.rules_modules import leaky_relu, pair


@dataclass(frozen=True, eq=False)
class Call:
    """A traced call, its arguments evaluated on zeros.

    Attributes:
        where: what it is, for messages.
        shape: of its output, without batch.
        args, kwargs: values of the arguments; those that depend on the network's input are samples.
        depends: by position, whether an argument depends on the network's input.
        mixed: whether a tensor among the arguments, at any depth, is a constant.
    """

    where: str
    shape: tuple[int, ...]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    depends: Sequence[bool]
    mixed: bool

    def argument(self, position: int, name: str, default: Any) -> Any:
        """A constant argument by position or keyword."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    def operands(self) -> tuple[bool, bool]:
        """Which of two positional operands depend on the input; at least one does."""
        if self.kwargs or len(self.args) != 2:
            raise UnsupportedError(f"{self.where}: keyword arguments; give two operands by position")
        return self.depends[0], self.depends[1]

    def constant(self, position: int, like: Tensor) -> Tensor:
        """A constant operand as a tensor without batch axis."""
        value = torch.as_tensor(self.args[position], dtype=like.dtype, device=like.device)
        if value.dim() == len(self.shape) + 1 and value.shape[0] == 1:
            value = value[0]
        if value.dim() > len(self.shape):
            raise UnsupportedError(f"{self.where}: a constant operand with a batch axis")
        return value


CallRule = Callable[[Call], "op.Operator | None"]
"""Returns the call's operator, None for the identity."""

CALL_RULES: dict[Any, CallRule] = {}
"""By function, or by name for a tensor method."""


def _rule(*targets: Any) -> Callable[[CallRule], CallRule]:
    """A decorator that files a rule under functions and method names."""

    def file(rule: CallRule) -> CallRule:
        CALL_RULES.update(dict.fromkeys(targets, rule))
        return rule

    return file


@_rule(torch.flatten, torch.reshape, "flatten", "view", "reshape")
def _reshape(call: Call) -> op.Operator:
    return op.Reshape(call.shape)


@_rule("contiguous")
def _identity(call: Call) -> None:
    return None


@_rule(functional.dropout)
def _dropout(call: Call) -> None:
    if call.argument(2, "training", True):
        raise UnsupportedError(f"{call.where} drops in evaluation mode too; pass training=self.training")


@_rule(torch.add, python.add, python.iadd, "add")
def _add(call: Call) -> op.Operator:
    first, second = call.operands()
    if first and second:
        return op.Add()
    x, other = (0, 1) if first else (1, 0)
    return op.Scale(call.args[x].new_ones(()), call.constant(other, call.args[x]))


@_rule(torch.sub, python.sub, "sub")
def _sub(call: Call) -> op.Operator:
    first, second = call.operands()
    if first and second:
        raise UnsupportedError(f"{call.where}: the difference of two tensors that depend on the input")
    if first:
        return op.Scale(call.args[0].new_ones(()), -call.constant(1, call.args[0]))
    return op.Scale(-call.args[1].new_ones(()), call.constant(0, call.args[1]))


@_rule(torch.mul, python.mul, "mul")
def _mul(call: Call) -> op.Operator:
    first, second = call.operands()
    if first and second:
        raise UnsupportedError(f"{call.where}: the product of two tensors that depend on the input")
    x, other = (0, 1) if first else (1, 0)
    return op.Scale(call.constant(other, call.args[x]), call.args[x].new_zeros(()))


@_rule(torch.div, python.truediv, "div")
def _div(call: Call) -> op.Operator:
    first, second = call.operands()
    if second or not first:
        raise UnsupportedError(f"{call.where}: division by a tensor that depends on the input")
    divisor = call.constant(1, call.args[0])
    return op.Scale((1 / divisor.double()).to(divisor.dtype), call.args[0].new_zeros(()))


@_rule(torch.cat)
def _concat(call: Call) -> op.Operator:
    if call.mixed:
        raise UnsupportedError(f"{call.where}: concatenation with a constant tensor")
    axis = call.argument(1, "dim", call.kwargs.get("axis", 0))
    axis = axis - 1 if axis > 0 else axis + len(call.shape)
    if not 0 <= axis < len(call.shape):
        raise UnsupportedError(f"{call.where}: concatenation along the batch")
    return op.Concat(axis)


@_rule(functional.leaky_relu)
def _leaky_relu(call: Call) -> op.Operator:
    return leaky_relu(call.argument(1, "negative_slope", 0.01))


@_rule(functional.avg_pool2d)
def _avg_pool(call: Call) -> op.Operator:
    if set(call.kwargs) - {"kernel_size", "stride", "padding"} or len(call.args) > 4:
        raise UnsupportedError(f"{call.where}: only kernel_size, stride and padding")
    kernel = pair(call.argument(1, "kernel_size", None))
    stride = call.argument(2, "stride", None)
    return op.AvgPool2d(kernel, pair(stride) if stride else kernel, pair(call.argument(3, "padding", 0)))


@_rule(functional.pad)
def _pad(call: Call) -> op.Operator:
    if call.argument(2, "mode", "constant") != "constant" or call.argument(3, "value", 0) not in (0, None):
        raise UnsupportedError(f"{call.where}: padding other than with zeros")
    amounts = tuple(call.argument(1, "pad", ()))
    if len(amounts) > 2 * len(call.shape):
        raise UnsupportedError(f"{call.where}: padding of the batch axis")
    return op.Pad(amounts)
