"""Slice: ranges of some axes."""

from __future__ import annotations

from abcrown_graft.formats.onnx.axes import checked_axes
from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Operand, Shape


@OPERATORS.register("Slice")
def slice_(call: Call) -> Operand:
    """Ranges are attributes before opset 10, inputs since; they end at the tensor's borders, as in Python."""
    value = call.operand(0)
    kept = _slices(call, value.shape)
    shape = tuple(len(range(*part.indices(size))) for part, size in zip(kept, value.shape, strict=True))
    return call.rearranged(value, shape, lambda array: array[kept])


def _slices(call: Call, shape: Shape) -> tuple[slice, ...]:
    options = call.options(starts=(), ends=(), axes=())
    starts, ends, axes = (
        call.integers(position) if call.has(position) else options[name]
        for position, name in ((1, "starts"), (2, "ends"), (3, "axes"))
    )
    axes = checked_axes(call, axes or range(len(starts)), len(shape))
    steps = call.integers(4) if call.has(4) else (1,) * len(axes)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise call.damaged(f"starts {list(starts)}, ends {list(ends)}, axes {list(axes)}, steps {list(steps)}")
    kept = [slice(None)] * len(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        kept[axis] = _range(start, end, step, shape[axis])
    return tuple(kept)


def _range(start: int, end: int, step: int, size: int) -> slice:
    """Python's slice; going backwards, what lies before the first number is counted differently there."""
    if step < 0:
        return slice(max(start, -size), None if end < -size else end, step)
    return slice(start, end, step)
