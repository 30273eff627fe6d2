"""Cast of constants; of variables, to the type that they have."""

from __future__ import annotations

import numpy as np
from onnx import helper

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Constant, Operand


@OPERATORS.register("Cast")
def cast(call: Call) -> Operand:
    """The same numbers in another type."""
    options = call.options(to=0, saturate=1, round_mode="up")
    value = call.operand(0)
    kind = _type(call, options["to"])
    if not isinstance(value, Constant):
        if kind != call.builder.dtype:
            raise call.refuse(f"a tensor that depends on the network's input, to {kind}")
        return value
    if np.issubdtype(kind, np.integer) and not np.isfinite(value.array).all():
        raise call.damaged("a number that is not finite, to an integer")
    return Constant(value.array.astype(kind))


def _type(call: Call, number: int) -> np.dtype:
    kinds = (np.float32, np.float64, np.int32, np.int64, np.bool_)
    known = {int(helper.np_dtype_to_tensor_dtype(np.dtype(kind))): np.dtype(kind) for kind in kinds}
    if number not in known:
        raise call.refuse(f"to type {number}")
    return known[number]
