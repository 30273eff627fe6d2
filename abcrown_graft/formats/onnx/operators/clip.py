"""Clip: `min(max(x, low), high)` as a sum of ReLUs."""

from __future__ import annotations

import numpy as np

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.elementwise import rectified, scaled, summed
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Operand, Variable

ENDLESS = float(np.finfo(np.float32).max)
"""What old versions have as the default for no limit."""


@OPERATORS.register("Clip")
def clip(call: Call) -> Operand:
    """`low + relu(x - low) - relu(x - high)`, or one of its halves; with low = 0 and no high it is a ReLU."""
    options = call.options(min=-ENDLESS, max=ENDLESS)
    low = _limit(call, 1, options["min"])
    high = _limit(call, 2, options["max"])
    variable = call.variable()
    if not low < high:
        raise call.refuse(f"limits {low} and {high}, of which the first is not smaller")
    if high >= ENDLESS:
        return variable if low <= -ENDLESS else _raised(call, variable, low)
    if low <= -ENDLESS:
        return _lowered(call, variable, high)
    over = rectified(call, scaled(call, variable, 1.0, -high, part="over"), part="high")
    return summed(call, _raised(call, variable, low, part="low"), scaled(call, over, -1.0, 0.0, part="cut"))


def _raised(call: Call, variable: Variable, low: float, part: str = "") -> Variable:
    """`max(x, low) = low + relu(x - low)`."""
    if low == 0:
        return rectified(call, variable, part=part)
    above = rectified(call, scaled(call, variable, 1.0, -low, part="above"), part="relu")
    return scaled(call, above, 1.0, low, part=part)


def _lowered(call: Call, variable: Variable, high: float) -> Variable:
    """`min(x, high) = high - relu(high - x)`."""
    below = rectified(call, scaled(call, variable, -1.0, high, part="below"), part="relu")
    return scaled(call, below, -1.0, high)


def _limit(call: Call, position: int, default: float) -> float:
    """From an attribute before opset 11, from an input since."""
    if not call.has(position):
        return default
    array = call.weight(position)
    if array.size != 1:
        raise call.damaged(f"input {position} is not a single number")
    return float(array.reshape(()))
