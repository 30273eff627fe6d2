"""Sub: a difference of two variables, or of a variable and a constant."""

from __future__ import annotations

import numpy as np

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.elementwise import folded, one_of_each, scaled, summed
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Operand


@OPERATORS.register("Sub")
def sub(call: Call) -> Operand:
    """`x - y`."""
    call.options()
    constant = folded(call, np.subtract)
    if constant is not None:
        return constant
    pair = one_of_each(call)
    if pair is None:
        negative = scaled(call, call.variable(1), -1.0, 0.0, part="negative")
        return summed(call, call.variable(0), negative)
    variable, other, position = pair
    number = call.weights(other.array)
    return scaled(call, variable, 1.0, -number) if position == 0 else scaled(call, variable, -1.0, number)
