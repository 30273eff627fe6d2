"""Squeeze: axes of size one are left out."""

from __future__ import annotations

from abcrown_graft.formats.onnx.axes import axes_of
from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Operand


@OPERATORS.register("Squeeze")
def squeeze(call: Call) -> Operand:
    """Without the given axes, or all of size one; axes are an attribute before opset 13, an input since."""
    value = call.operand(0)
    given = axes_of(call, 1, len(value.shape))
    left_out = [axis for axis, size in enumerate(value.shape) if size == 1] if given is None else given
    if any(value.shape[axis] != 1 for axis in left_out):
        raise call.damaged(f"axes {list(left_out)} of a tensor of shape {list(value.shape)} are not all of size 1")
    shape = tuple(size for axis, size in enumerate(value.shape) if axis not in left_out)
    return call.rearranged(value, shape, lambda array: array.reshape(shape))
