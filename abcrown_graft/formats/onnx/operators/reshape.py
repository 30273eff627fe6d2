"""Reshape to a constant shape."""

from __future__ import annotations

import math

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Operand, Shape


@OPERATORS.register("Reshape")
def reshape(call: Call) -> Operand:
    """The same numbers in row-major order; 0 keeps an axis, -1 takes what is left."""
    allow_zero = call.options(allowzero=0)["allowzero"]
    value = call.operand(0)
    shape = _shape(call, call.integers(1), value.shape, bool(allow_zero))
    return call.rearranged(value, shape, lambda array: array.reshape(shape))


def _shape(call: Call, wanted: Shape, old: Shape, allow_zero: bool) -> Shape:
    if not allow_zero:
        if any(size == 0 and axis >= len(old) for axis, size in enumerate(wanted)):
            raise call.damaged(f"shape {list(wanted)} keeps an axis that {list(old)} does not have")
        wanted = tuple(old[axis] if size == 0 else size for axis, size in enumerate(wanted))
    known = math.prod(size for size in wanted if size != -1)
    if wanted.count(-1) == 1 and known > 0:
        wanted = tuple(math.prod(old) // known if size == -1 else size for size in wanted)
    if min(wanted, default=1) < 1 or math.prod(wanted) != math.prod(old):
        raise call.damaged(f"a tensor of shape {list(old)} as {list(wanted)}")
    return wanted
