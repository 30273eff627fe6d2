"""Shape: known, since networks are read for a batch of one."""

from __future__ import annotations

import numpy as np

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Constant, Operand


@OPERATORS.register("Shape")
def shape(call: Call) -> Operand:
    """The sizes of the axes from `start` to `end`."""
    options = call.options(start=0, end=2**31)
    return Constant(np.array(call.operand(0).shape[options["start"] : options["end"]], dtype=np.int64))
