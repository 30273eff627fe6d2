"""Convolutions whose input gradient is cheap to differentiate again.

GradAlign differentiates an input gradient in the weights. Torch's own rule for that (2.13) gets the weights' share as a
convolution in which batch and channels have changed places and the kernel is as large as the image. It equals the
ordinary weight gradient of the layer with the tangent in place of its input, for which CPUs have a kernel. That is used
here, and the gradient in the images is left out of the second pass: the same numbers up to rounding, in 5 % (CNN-B) to
12 % (ConvBig) less CPU time for GradAlign. Other devices keep torch's rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode


@dataclass
class _Phase:
    """Of a graph: at first only the input's gradient is asked for, afterwards that of the weights."""

    input_only: bool = True


@dataclass(frozen=True)
class _Geometry:
    """Stride, padding, dilation (each a pair) and groups of a 2-D convolution."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """The convolution."""
        return torch.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def backward(self, gradient: Tensor, x: Tensor, weight: Tensor, wanted: list[bool]) -> tuple[Tensor | None, ...]:
        """The gradients in input, weight and bias, None for each that is not `wanted`."""
        sizes, no_transpose = [len(weight)], (False, [0, 0])
        return torch.ops.aten.convolution_backward(
            gradient, x, weight, sizes, self.stride, self.padding, self.dilation, *no_transpose, self.groups, wanted
        )


class _Convolution(torch.autograd.Function):
    """The convolution; its gradient in the input is an `_InputGradient`."""

    @staticmethod
    def forward(
        ctx: Any, phase: _Phase, by: _Geometry, ends: bool, x: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        """`ends`: in the second phase, nothing before the convolution wants a gradient."""
        ctx.save_for_backward(x, weight)
        ctx.phase, ctx.by, ctx.ends = phase, by, ends
        return by.forward(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        x, weight = ctx.saved_tensors
        *_, for_x, for_weight, for_bias = ctx.needs_input_grad
        if ctx.phase.input_only:
            pulled = _InputGradient.apply(ctx.by, gradient, weight, x.shape) if for_x else None
            return None, None, None, pulled, None, None
        return None, None, None, *ctx.by.backward(gradient, x, weight, [for_x and not ctx.ends, for_weight, for_bias])


class _InputGradient(torch.autograd.Function):
    """A convolution's gradient in its input of the given shape; linear in the gradient and in the weight."""

    @staticmethod
    def forward(ctx: Any, by: _Geometry, gradient: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(gradient, weight)
        ctx.by = by
        like_input = gradient.new_empty(1).expand(shape)
        by_input, *_ = by.backward(gradient, like_input, weight, [True, False, False])
        assert by_input is not None
        return by_input

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, tangent: Tensor) -> tuple[Any, ...]:
        gradient, weight = ctx.saved_tensors
        _, for_gradient, for_weight, _ = ctx.needs_input_grad
        onwards = ctx.by.forward(tangent, weight) if for_gradient else None
        by_weight = ctx.by.backward(gradient, tangent, weight, [False, True, False])[1] if for_weight else None
        return None, onwards, by_weight, None


class _Replacing(TorchFunctionMode):
    """Calls `_Convolution` wherever a 2-D convolution is called on the CPU with a batch and numeric padding."""

    def __init__(self, phase: _Phase, point: Tensor) -> None:
        super().__init__()
        self.phase, self.point = phase, point

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not torch.conv2d:
            return func(*args, **(kwargs or {}))
        return self._convolve(*args, **(kwargs or {}))

    def _convolve(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        if isinstance(padding, str) or input.dim() != 4 or input.device.type != "cpu":
            return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)
        by = _Geometry(_pair(stride), _pair(padding), _pair(dilation), groups)
        x, kernel, shift = _cast(input), _cast(weight), None if bias is None else _cast(bias)
        return _Convolution.apply(self.phase, by, _depends_on_alone(x, self.point), x, kernel, shift)


@contextmanager
def input_gradient_first(point: Tensor) -> Iterator[None]:
    """Inside, networks are run and differentiated in `point` (a leaf) alone; afterwards in their parameters alone.

    What is made inside, with `create_graph`, can be differentiated once more: in parameters, not in `point`, and only
    after the context has been left.
    """
    phase = _Phase()
    with _Replacing(phase, point):
        yield
    phase.input_only = False


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    first, *others = (value,) if isinstance(value, int) else value
    return (int(first), int(others[0])) if others else (int(first), int(first))


def _cast(tensor: Tensor) -> Tensor:
    """What automatic mixed precision would make of a convolution's argument."""
    if not torch.is_autocast_enabled(tensor.device.type):
        return tensor
    return tensor.to(torch.get_autocast_dtype(tensor.device.type))


def _depends_on_alone(x: Tensor, point: Tensor) -> bool:
    """Whether `point` is the only leaf in the graph of `x`."""
    if x is point:
        return True
    seen, left = set(), [x.grad_fn]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if getattr(node, "variable", point) is not point:
            return False
        left += [following for following, _ in node.next_functions]
    return True
