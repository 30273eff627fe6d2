"""Unsqueeze: new axes of size one."""

from __future__ import annotations

from abcrown_graft.formats.onnx.axes import MAX_RANK, axes_of
from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Operand


@OPERATORS.register("Unsqueeze")
def unsqueeze(call: Call) -> Operand:
    """New axes where the result has the given ones; they are an attribute before opset 13, an input since."""
    value = call.operand(0)
    count = len(call.integers(1) if call.has(1) else call.options(axes=())["axes"])
    rank = len(value.shape) + count
    if not 0 < count <= rank <= MAX_RANK:
        raise call.damaged(f"{count} new axes for a tensor of shape {list(value.shape)}")
    new = axes_of(call, 1, rank)
    old = iter(value.shape)
    shape = tuple(1 if new is not None and axis in new else next(old) for axis in range(rank))
    return call.rearranged(value, shape, lambda array: array.reshape(shape))
