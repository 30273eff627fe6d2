"""Relu: an activation."""

from __future__ import annotations

from abcrown_graft.onnx_io.call import Call
from abcrown_graft.onnx_io.elementwise import rectified
from abcrown_graft.onnx_io.operators.registry import OPERATORS
from abcrown_graft.onnx_io.values import Operand


@OPERATORS.register("Relu")
def relu(call: Call) -> Operand:
    """`max(x, 0)`."""
    call.options()
    return rectified(call, call.variable())
