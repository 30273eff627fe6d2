"""Affine operators as sparse matrices over flattened tensors: one rule per operator."""

from __future__ import annotations

from functools import singledispatch

import numpy as np
import torch
from scipy.sparse import csr_array, diags_array, eye_array, kron
from torch import Tensor
from torch.nn import functional

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.network import operators as op

Shape = tuple[int, ...]


@singledispatch
def matrices(operator: op.Operator, input_shapes: tuple[Shape, ...], dtype: torch.dtype) -> tuple[csr_array, ...]:
    """For every input its matrix `(output neurons, input neurons)`; the output is the sum of the products and `shift`.

    Args:
        operator: affine.
        input_shapes: of its inputs, without batch.
        dtype: of the entries where the operator itself has none.
    """
    raise UnsupportedError(f"operator {type(operator).__name__} has no matrix")


@matrices.register
def _(operator: op.Linear, input_shapes: tuple[Shape, ...], dtype: torch.dtype) -> tuple[csr_array, ...]:
    repeats = torch.Size(input_shapes[0][:-1]).numel()
    weight = csr_array(operator.weight.numpy())
    return (weight if repeats == 1 else csr_array(kron(eye_array(repeats, dtype=weight.dtype), weight)),)


@matrices.register
def _(operator: op.Conv2d, input_shapes: tuple[Shape, ...], dtype: torch.dtype) -> tuple[csr_array, ...]:
    numbers = _numbers(input_shapes[0]).double()  # unfold takes floating point only; 0 is padding
    kernel = operator.weight.shape[2:]
    read = functional.unfold(numbers.unsqueeze(0), kernel, operator.dilation, operator.padding, operator.stride)
    read = read[0].long().unflatten(0, (operator.groups, -1)).transpose(1, 2)  # (groups, places, terms)
    weight = operator.weight.flatten(1).unflatten(0, (operator.groups, -1)).unsqueeze(2)  # (groups, out, 1, terms)
    read, weight = torch.broadcast_tensors(read.unsqueeze(1), weight)
    return (_compressed(read.flatten(0, 2), weight.flatten(0, 2), input_shapes[0]),)


@matrices.register
def _(operator: op.AvgPool2d, input_shapes: tuple[Shape, ...], dtype: torch.dtype) -> tuple[csr_array, ...]:
    channels = input_shapes[0][0]
    weight = torch.full((channels, 1, *operator.kernel), 1 / (operator.kernel[0] * operator.kernel[1]), dtype=dtype)
    same = op.Conv2d(weight, weight.new_zeros(channels), operator.stride, operator.padding, (1, 1), channels)
    return matrices(same, input_shapes, dtype)


@matrices.register
def _(operator: op.Pad, input_shapes: tuple[Shape, ...], dtype: torch.dtype) -> tuple[csr_array, ...]:
    read = functional.pad(_numbers(input_shapes[0]), operator.amounts).view(-1, 1)
    return (_compressed(read, torch.ones_like(read, dtype=dtype), input_shapes[0]),)


@matrices.register
def _(operator: op.Select, input_shapes: tuple[Shape, ...], dtype: torch.dtype) -> tuple[csr_array, ...]:
    read = operator.index.reshape(-1, 1)
    return (_compressed(read, torch.ones_like(read, dtype=dtype), input_shapes[0]),)


def _identity(operator: op.Operator, input_shapes: tuple[Shape, ...], dtype: torch.dtype) -> tuple[csr_array, ...]:
    one = torch.ones(torch.Size(input_shapes[0]).numel(), dtype=dtype)
    return (csr_array(diags_array(one.numpy())),) * len(input_shapes)


matrices.register(op.Reshape, _identity)
matrices.register(op.Add, _identity)


@matrices.register
def _(operator: op.Concat, input_shapes: tuple[Shape, ...], dtype: torch.dtype) -> tuple[csr_array, ...]:
    parts = [_numbers(shape) for shape in input_shapes]
    found = []
    for k, shape in enumerate(input_shapes):
        read = torch.cat([p if i == k else torch.zeros_like(p) for i, p in enumerate(parts)], operator.axis).view(-1, 1)
        found.append(_compressed(read, torch.ones_like(read, dtype=dtype), shape))
    return tuple(found)


@matrices.register
def _(operator: op.Scale, input_shapes: tuple[Shape, ...], dtype: torch.dtype) -> tuple[csr_array, ...]:
    return (csr_array(diags_array(operator.scale.expand(input_shapes[0]).flatten().numpy())),)


def shift(operator: op.Operator, shape: Shape) -> Tensor | None:
    """What an affine operator adds to its flattened output of the given shape; None is nothing."""
    if isinstance(operator, op.Conv2d):
        return operator.bias.repeat_interleave(shape[1] * shape[2])
    if isinstance(operator, op.Linear):
        return operator.bias.expand(shape).flatten()
    if isinstance(operator, op.Scale):
        return operator.shift.expand(shape).flatten()
    return None


def entries(operator: op.Operator, shape: Shape) -> int:
    """At most how many entries the operator's largest matrix stores, for its output of the given shape."""
    neurons = torch.Size(shape).numel()
    if isinstance(operator, op.Conv2d):
        return neurons * operator.weight[0].numel()
    if isinstance(operator, op.Linear):
        return neurons * operator.weight.shape[1]
    if isinstance(operator, op.AvgPool2d):
        return neurons * operator.kernel[0] * operator.kernel[1]
    return neurons


def _numbers(shape: Shape) -> Tensor:
    """The tensor of the given shape that numbers its elements from 1."""
    return torch.arange(1, torch.Size(shape).numel() + 1).view(shape)


def _compressed(read: Tensor, weight: Tensor, shape: Shape) -> csr_array:
    """The matrix whose row i holds `weight[i]` in the columns `read[i] - 1`; zeros on either side are left out."""
    kept = (read > 0) & (weight != 0)
    starts = np.concatenate([[0], kept.sum(1).cumsum(0).numpy()])
    size = (len(read), torch.Size(shape).numel())
    return csr_array((weight[kept].numpy(), (read[kept] - 1).numpy(), starts), shape=size)
