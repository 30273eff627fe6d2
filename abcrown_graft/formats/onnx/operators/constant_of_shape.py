"""ConstantOfShape: one number, repeated."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from abcrown_graft.formats.onnx.builder import check_size
from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Constant, Operand


@OPERATORS.register("ConstantOfShape")
def constant_of_shape(call: Call) -> Operand:
    """A tensor of a constant shape, of zeros in float32 unless `value` says otherwise."""
    value = call.options(value=onnx.TensorProto())["value"]
    number = numpy_helper.to_array(value) if value.data_type else np.zeros(1, dtype=np.float32)
    if number.size != 1:
        raise call.damaged("a value that is not a single number")
    shape = call.integers(0)
    check_size(shape)
    return Constant(np.full(shape, number.reshape(()), dtype=number.dtype))
