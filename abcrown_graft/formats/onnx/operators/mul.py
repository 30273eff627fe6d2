"""Mul: a variable scaled by a constant."""

from __future__ import annotations

import numpy as np

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.elementwise import folded, one_of_each, scaled
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Operand


@OPERATORS.register("Mul")
def mul(call: Call) -> Operand:
    """`x * y`, one of them constant."""
    call.options()
    constant = folded(call, np.multiply)
    if constant is not None:
        return constant
    pair = one_of_each(call)
    if pair is None:
        raise call.refuse("the product of two tensors that depend on the network's input")
    variable, scale, _ = pair
    return scaled(call, variable, call.weights(scale.array), 0.0)
