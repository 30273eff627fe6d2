"""Add: a sum of two variables, or a shift by a constant."""

from __future__ import annotations

import numpy as np

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.elementwise import folded, one_of_each, scaled, summed
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Operand


@OPERATORS.register("Add")
def add(call: Call) -> Operand:
    """`x + y`."""
    call.options()
    constant = folded(call, np.add)
    if constant is not None:
        return constant
    pair = one_of_each(call)
    if pair is None:
        return summed(call, call.variable(0), call.variable(1))
    variable, shift, _ = pair
    return scaled(call, variable, 1.0, call.weights(shift.array))
