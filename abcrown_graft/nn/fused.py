"""The grafted activation as a few passes over memory.

With k = −∞, a, b = slope, intercept where a neuron is grafted and k = 0, a, b = 1, 0 elsewhere, the activation is
y = a·max(z, k) + b. Written with whole tensors, a training step reads and writes memory about ten times per activation;
piece by piece, a few images at a time, all but the first read and the last write stay in the processor's cache. That
takes half of the time, and the sums over the batch that slopes and intercepts need cost little besides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable

PIECE = 2**20  # bytes of a piece, about a core's own cache


def is_fusible(*tensors: Tensor) -> bool:
    """Whether derivatives written by hand serve: on the CPU, backward, and neither traced nor compiled nor mapped."""
    if torch.jit.is_tracing() or torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return False
    return all(t.device.type == "cpu" and forward_ad.unpack_dual(t).tangent is None for t in tensors)


def grafted_relu(z: Tensor, slope: Tensor, intercept: Tensor, floor: Tensor) -> Tensor:
    """`slope * max(z, floor) + intercept`, which can be differentiated twice in all but the floor.

    Args:
        z: `(batch, *neurons)`; `is_fusible(z, slope, intercept)` holds.
        slope, intercept: `(1, *neurons)`, of the dtype of `z`; 1 and 0 for a ReLU.
        floor: `(1, *neurons)`, of that dtype; 0 for a ReLU and −∞ for a line.

    Returns:
        A tensor like `z`. The derivative at z = floor is 0, as torch has it for a ReLU.
    """
    return _GraftedReLU.apply(z, slope, intercept, floor)


class _GraftedReLU(torch.autograd.Function):
    """The activation; its gradients are a `_Gradients`."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, slope: Tensor, intercept: Tensor, floor: Tensor) -> Tensor:
        ctx.save_for_backward(z, slope, floor)
        y = torch.empty_like(z)
        for z_piece, y_piece in _pieces(z, y):
            torch.maximum(z_piece, floor, out=y_piece)
            y_piece.mul_(slope).add_(intercept)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        z, slope, floor = ctx.saved_tensors
        learns = any(ctx.needs_input_grad[1:])
        return *_Gradients.apply(gradient, z, slope, floor, learns), None


class _Gradients(torch.autograd.Function):
    """Gradients in z and, if it `learns`, in slope and intercept."""

    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, z: Tensor, slope: Tensor, floor: Tensor, learns: bool
    ) -> tuple[Tensor | None, ...]:
        ctx.save_for_backward(gradient, z, slope, floor)
        ctx.set_materialize_grads(False)
        by_z = torch.empty_like(z)
        sums = (_zeros(slope), _zeros(slope)) if learns else None
        for g, z_piece, out in _pieces(gradient, z, by_z):
            _pass_on(g, z_piece, floor, out)
            if sums is not None:
                by_slope, by_intercept = sums
                by_slope += (out * z_piece).sum(0, keepdim=True)  # where nothing passes, floor and z·0 are both 0
                by_intercept += g.sum(0, keepdim=True)
            out.mul_(slope)
        return by_z, *((None, None) if sums is None else (total.to(slope.dtype) for total in sums))

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, by_z: Tensor | None, by_slope: Tensor | None, by_intercept: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Of the three results' own gradients, any of which may be missing."""
        gradient, z, slope, floor = ctx.saved_tensors
        into_gradient = torch.zeros_like(z) if by_z is None else torch.empty_like(z)
        into_z, into_slope = None, None
        if by_z is not None:
            into_slope = _zeros(slope)
            for v, g, z_piece, out in _pieces(by_z, gradient, z, into_gradient):
                _pass_on(v, z_piece, floor, out)
                into_slope += (out * g).sum(0, keepdim=True)
                out.mul_(slope)
            into_slope = into_slope.to(slope.dtype)
        if by_slope is not None:
            into_gradient += by_slope * z.maximum(floor)
            into_z = by_slope * _pass_on(gradient, z, floor, torch.empty_like(z))
        if by_intercept is not None:
            into_gradient += by_intercept
        return into_gradient, into_z, into_slope, None, None


def _pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views `(some, ...)` of the tensors `(batch, ...)`, a few images of each at a time."""
    image = tensors[0][:1]
    images = max(1, PIECE // max(1, image.numel() * image.element_size()))
    return zip(*(tensor.split(images) for tensor in tensors), strict=True)


def _pass_on(gradient: Tensor, z: Tensor, floor: Tensor, out: Tensor) -> Tensor:
    """`gradient` where z > floor and 0 elsewhere; by a product, as selecting by booleans is slow."""
    return torch.gt(z, floor, out=out).mul_(gradient)


def _zeros(like: Tensor) -> Tensor:
    """To add up in: at least float32."""
    return torch.zeros_like(like, dtype=torch.promote_types(like.dtype, torch.float32))
