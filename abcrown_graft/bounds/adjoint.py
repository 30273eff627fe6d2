"""Pulling linear functions back through affine operators: one rule per operator.

A linear function of a node's output is a coefficient tensor `(rows, *output shape)`: its value is
the inner product with the output. `pull_back` gives the same function in terms of the operator's
inputs: coefficients for each input, and a constant per row.
"""

from __future__ import annotations

from functools import singledispatch

import torch
from torch import Tensor
from torch.nn import functional

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.network import operators as op

Shape = tuple[int, ...]
PulledBack = tuple[tuple[Tensor, ...], "Tensor | float"]


@singledispatch
def pull_back(operator: op.Operator, coefficients: Tensor, input_shapes: tuple[Shape, ...]) -> PulledBack:
    """Coefficients `(rows, *shape)` for every input, and constants `(rows,)` or 0."""
    raise UnsupportedError(f"operator {type(operator).__name__} has no adjoint rule")


@pull_back.register
def _(operator: op.Linear, coefficients: Tensor, input_shapes: tuple[Shape, ...]) -> PulledBack:
    constant = (coefficients @ operator.bias).view(len(coefficients), -1).sum(1)
    return (coefficients @ operator.weight,), constant


@pull_back.register
def _(operator: op.Conv2d, coefficients: Tensor, input_shapes: tuple[Shape, ...]) -> PulledBack:
    pulled = torch.nn.grad.conv2d_input(
        (len(coefficients), *input_shapes[0]),
        operator.weight,
        coefficients,
        operator.stride,
        operator.padding,
        operator.dilation,
        operator.groups,
    )
    return (pulled,), coefficients.sum((2, 3)) @ operator.bias


@pull_back.register
def _(operator: op.AvgPool2d, coefficients: Tensor, input_shapes: tuple[Shape, ...]) -> PulledBack:
    channels = input_shapes[0][0]
    size = operator.kernel[0] * operator.kernel[1]
    weight = coefficients.new_full((channels, 1, *operator.kernel), 1 / size)
    shape = (len(coefficients), *input_shapes[0])
    pulled = torch.nn.grad.conv2d_input(shape, weight, coefficients, operator.stride, operator.padding, groups=channels)
    return (pulled,), 0.0


@pull_back.register
def _(operator: op.Pad, coefficients: Tensor, input_shapes: tuple[Shape, ...]) -> PulledBack:
    return (functional.pad(coefficients, tuple(-amount for amount in operator.amounts)),), 0.0


@pull_back.register
def _(operator: op.Reshape, coefficients: Tensor, input_shapes: tuple[Shape, ...]) -> PulledBack:
    return (coefficients.reshape(len(coefficients), *input_shapes[0]),), 0.0


@pull_back.register
def _(operator: op.Select, coefficients: Tensor, input_shapes: tuple[Shape, ...]) -> PulledBack:
    size = torch.Size(input_shapes[0]).numel()
    pulled = coefficients.new_zeros(len(coefficients), 1 + size)  # the first column collects what read a zero
    pulled.index_add_(1, operator.index.flatten(), coefficients.flatten(1))
    return (pulled[:, 1:].reshape(len(coefficients), *input_shapes[0]),), 0.0


@pull_back.register
def _(operator: op.Add, coefficients: Tensor, input_shapes: tuple[Shape, ...]) -> PulledBack:
    return (coefficients, coefficients), 0.0


@pull_back.register
def _(operator: op.Concat, coefficients: Tensor, input_shapes: tuple[Shape, ...]) -> PulledBack:
    sizes = [shape[operator.axis] for shape in input_shapes]
    return tuple(coefficients.split(sizes, dim=operator.axis + 1)), 0.0


@pull_back.register
def _(operator: op.Scale, coefficients: Tensor, input_shapes: tuple[Shape, ...]) -> PulledBack:
    shift = operator.shift.expand(input_shapes[0]).reshape(-1)
    return (coefficients * operator.scale,), coefficients.flatten(1) @ shift
