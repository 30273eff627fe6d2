"""Div: a variable divided by a constant."""

from __future__ import annotations

import numpy as np

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.elementwise import folded, scaled
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Operand


@OPERATORS.register("Div")
def div(call: Call) -> Operand:
    """`x / y` for a constant y without zeros; integers are divided towards zero."""
    call.options()
    divisor = call.array(1)
    if not divisor.all():
        raise call.damaged("a division by zero")
    constant = folded(call, _quotient)
    if constant is not None:
        return constant
    return scaled(call, call.variable(), 1 / call.weights(divisor), 0.0)


def _quotient(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    if not np.issubdtype(first.dtype, np.integer):
        return first / second
    return np.sign(first) * np.sign(second) * (np.abs(first) // np.abs(second))
