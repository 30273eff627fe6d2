"""Gather: numbers of an axis at constant places."""

from __future__ import annotations

import numpy as np

from abcrown_graft.formats.onnx.axes import checked_axes
from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Operand


@OPERATORS.register("Gather")
def gather(call: Call) -> Operand:
    """`axis` is replaced by the axes of the places, which count from the end where negative."""
    value, places = call.operand(0), call.array(1)
    (axis,) = checked_axes(call, [call.options(axis=0)["axis"]], len(value.shape))
    size = value.shape[axis]
    if places.dtype not in (np.int32, np.int64) or not ((places >= -size) & (places < size)).all():
        raise call.damaged(f"places outside an axis of {size} numbers")
    shape = (*value.shape[:axis], *places.shape, *value.shape[axis + 1 :])
    return call.rearranged(value, shape, lambda array: np.take(array, places, axis))
