"""MatMul: a linear layer, its matrix on either side."""

from __future__ import annotations

import math

import numpy as np

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.elementwise import one_of_each
from abcrown_graft.formats.onnx.linear import swapped, times_matrix
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Operand, Shape, Variable


@OPERATORS.register("MatMul")
def matmul(call: Call) -> Operand:
    """`x @ w` or `w @ x` for a constant matrix or vector w, by numpy's rules for shapes."""
    call.options()
    pair = one_of_each(call)
    if pair is None:
        raise call.refuse("the product of two tensors of which not just one depends on the network's input")
    variable, constant, position = pair
    weight = call.weights(constant.array)
    if not variable.shape or not weight.shape:
        raise call.damaged("a single number as an operand")
    if math.prod(weight.shape[:-2]) != 1:
        raise call.refuse(f"a stack of matrices of shape {list(weight.shape)}; one matrix is supported")
    shape = _shape(call, variable.shape, weight.shape, position)
    matrix = weight.reshape(weight.shape[-2:])
    return _right(call, variable, matrix, shape) if position == 0 else _left(call, variable, matrix, shape)


def _shape(call: Call, variable: Shape, weight: Shape, position: int) -> Shape:
    """Of the product, as numpy has it."""
    first, second = (variable, weight) if position == 0 else (weight, variable)
    inner = second[0] if len(second) == 1 else second[-2]
    if first[-1] != inner:
        raise call.damaged(f"the product of tensors of shapes {list(first)} and {list(second)}")
    front = np.broadcast_shapes(first[:-2], second[:-2])
    return (*front, *first[:-1][-1:], *(second[-1:] if len(second) > 1 else ()))


def _right(call: Call, variable: Variable, matrix: np.ndarray, shape: Shape) -> Variable:
    found = times_matrix(call, variable, matrix if matrix.ndim == 2 else matrix.reshape(-1, 1))
    return Variable(found.node, shape)


def _left(call: Call, variable: Variable, matrix: np.ndarray, shape: Shape) -> Variable:
    """`w @ x = (x.T @ w.T).T`; a vector has nothing to transpose."""
    transposed = matrix.T if matrix.ndim == 2 else matrix.reshape(-1, 1)
    if len(variable.shape) == 1:
        return Variable(times_matrix(call, variable, transposed).node, shape)
    product = times_matrix(call, swapped(call, variable, part="columns"), transposed, part="transposed")
    return Variable(swapped(call, product).node, shape)
