"""Relu: an activation."""

from __future__ import annotations

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.elementwise import rectified
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Operand


@OPERATORS.register("Relu")
def relu(call: Call) -> Operand:
    """`max(x, 0)`."""
    call.options()
    return rectified(call, call.variable())
