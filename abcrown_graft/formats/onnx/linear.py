"""Products of a variable with a constant matrix."""

from __future__ import annotations

import math

import numpy as np
import torch

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.values import Variable
from abcrown_graft.network import operators as op


def times_matrix(call: Call, value: Variable, matrix: np.ndarray, part: str = "") -> Variable:
    """`value @ matrix` for a value `(..., inputs)` and a matrix `(inputs, outputs)` in float64.

    Args:
        call: the node.
        value: `(..., inputs)`.
        matrix: `(inputs, outputs)`, float64.
        part: as in `Call.add`.

    Raises:
        ModelError: the numbers of inputs differ.
    """
    *rows, inputs = value.shape
    if inputs != len(matrix):
        raise call.damaged(f"a tensor of shape {list(value.shape)} times a matrix of shape {list(matrix.shape)}")
    count = math.prod(rows)
    source = call.laid_out(value, (inputs,) if count == 1 else (count, inputs))
    weight = torch.from_numpy(np.ascontiguousarray(matrix.T))
    operator = op.Linear(weight, weight.new_zeros(len(weight)))
    return Variable(call.add(operator, source, part=part), (*rows, len(weight)))


def swapped(call: Call, value: Variable, part: str = "") -> Variable:
    """A variable with its last two axes exchanged.

    Args:
        call: the node.
        value: of at least two axes.
        part: as in `Call.add`.
    """
    *front, rows, columns = value.shape
    shape = (*front, columns, rows)
    return call.moved(value, shape, lambda array: np.swapaxes(array, -1, -2), part)
