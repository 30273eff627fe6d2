"""Flatten: a tensor as a matrix."""

from __future__ import annotations

import math

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Operand


@OPERATORS.register("Flatten")
def flatten(call: Call) -> Operand:
    """Everything before `axis` becomes the rows, the rest the columns."""
    axis = call.options(axis=1)["axis"]
    value = call.operand(0)
    rank = len(value.shape)
    if not -rank <= axis <= rank:
        raise call.damaged(f"axis {axis} of a tensor of shape {list(value.shape)}")
    axis = axis + rank if axis < 0 else axis
    shape = (math.prod(value.shape[:axis]), math.prod(value.shape[axis:]))
    return call.rearranged(value, shape, lambda array: array.reshape(shape))
