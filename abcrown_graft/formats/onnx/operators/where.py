"""Where with a constant condition."""

from __future__ import annotations

import numpy as np

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.elementwise import broadcast_shape, scaled, summed
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Constant, Operand


@OPERATORS.register("Where")
def where(call: Call) -> Operand:
    """`m * x + (1 - m) * y`; what is not chosen counts for nothing."""
    call.options()
    chosen, first, second = call.array(0), call.operand(1), call.operand(2)
    if chosen.dtype != np.bool_:
        raise call.damaged("a condition that is not boolean")
    broadcast_shape(call, chosen.shape, first.shape, second.shape)
    if isinstance(first, Constant) and isinstance(second, Constant):
        if first.array.dtype != second.array.dtype:
            raise call.damaged("constants of different types")
        return Constant(np.where(chosen, first.array, second.array))
    if isinstance(first, Constant):
        return scaled(call, call.variable(2), ~chosen, np.where(chosen, call.weights(first.array), 0.0))
    if isinstance(second, Constant):
        return scaled(call, first, chosen, np.where(chosen, 0.0, call.weights(second.array)))
    return summed(call, scaled(call, first, chosen, 0.0, "chosen"), scaled(call, second, ~chosen, 0.0, "other"))
