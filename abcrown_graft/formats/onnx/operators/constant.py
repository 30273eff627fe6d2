"""Constant: a tensor, a number or a list of numbers."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Constant, Operand

TYPES = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}


@OPERATORS.register("Constant")
def constant(call: Call) -> Operand:
    """The node's one attribute."""
    (attribute,) = call.node.attribute
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name == "value" and isinstance(value, onnx.TensorProto):
        return Constant(numpy_helper.to_array(value))
    if attribute.name not in TYPES:
        raise call.refuse(f"attribute {attribute.name}")
    return Constant(np.array(value, dtype=TYPES[attribute.name]))
