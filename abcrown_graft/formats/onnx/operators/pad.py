"""Pad: with a constant, with the border, or mirrored."""

from __future__ import annotations

import numpy as np

from abcrown_graft.formats.onnx.axes import checked_axes
from abcrown_graft.formats.onnx.builder import check_size
from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.elementwise import scaled
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Operand, Shape, Variable, layout
from abcrown_graft.network import operators as op

Amounts = list[tuple[int, int]]
"""In front of and behind each axis; negative ones cut off."""


@OPERATORS.register("Pad")
def pad(call: Call) -> Operand:
    """Pads and value are attributes before opset 11, inputs since; from opset 18 on `axes` may be an input."""
    options = call.options(mode="constant", pads=(), value=0.0)
    variable = call.variable()
    amounts = _amounts(call, call.integers(1) if call.has(1) else options["pads"], len(variable.shape))
    shape = tuple(b + size + e for size, (b, e) in zip(variable.shape, amounts, strict=True))
    check_size(shape)
    if any(max(-b, 0) + max(-e, 0) >= size for size, (b, e) in zip(variable.shape, amounts, strict=True)):
        raise call.damaged(f"pads {amounts} cut off all of an axis of {list(variable.shape)}")
    if options["mode"] == "constant":
        return _with_number(call, variable, amounts, shape, _number(call, options["value"]))
    if options["mode"] not in ("edge", "reflect") or min(min(pair) for pair in amounts) < 0:
        raise call.refuse(f"mode {options['mode']!r} with pads {amounts}")
    if options["mode"] == "reflect" and any(max(p) >= n for p, n in zip(amounts, variable.shape, strict=True)):
        raise call.refuse(f"mirroring {amounts} of a tensor of shape {list(variable.shape)}")
    return call.moved(variable, shape, lambda array: np.pad(array, amounts, mode=options["mode"]))


def _with_number(call: Call, variable: Variable, amounts: Amounts, shape: Shape, number: float) -> Operand:
    part = "" if number == 0 else "zeros"
    dropped = len(variable.shape) - len(layout(variable.shape))
    if not any(max(pair) or min(pair) for pair in amounts):
        return variable
    if any(amounts[0]) and dropped:
        padded = call.moved(variable, shape, lambda array: _padded(array, amounts), part)
    else:
        order = tuple(amount for pair in reversed(amounts[dropped:]) for amount in pair)
        padded = Variable(call.add(op.Pad(order), call.laid_out(variable, layout(variable.shape)), part=part), shape)
    if number == 0:
        return padded
    around = _padded(np.ones(variable.shape, dtype=np.int64), amounts) == 0
    return scaled(call, padded, 1.0, np.where(around, number, 0.0))


def _padded(array: np.ndarray, amounts: Amounts) -> np.ndarray:
    kept = tuple(slice(max(-b, 0), size - max(-e, 0)) for size, (b, e) in zip(array.shape, amounts, strict=True))
    return np.pad(array[kept], [(max(b, 0), max(e, 0)) for b, e in amounts])


def _amounts(call: Call, pads: tuple[int, ...], rank: int) -> Amounts:
    axes = checked_axes(call, call.integers(3), rank) if call.has(3) else tuple(range(rank))
    if len(pads) != 2 * len(axes):
        raise call.damaged(f"{len(pads)} pads for {len(axes)} axes")
    amounts = [(0, 0)] * rank
    for k, axis in enumerate(axes):
        amounts[axis] = (pads[k], pads[k + len(axes)])
    return amounts


def _number(call: Call, default: float) -> float:
    if not call.has(2):
        return default
    value = call.weight(2)
    if value.size != 1:
        raise call.damaged("a padding value that is not a single number")
    return float(value.reshape(()))
