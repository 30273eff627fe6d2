"""Identity."""

from __future__ import annotations

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Operand


@OPERATORS.register("Identity")
def identity(call: Call) -> Operand:
    """The operand."""
    call.options()
    return call.operand(0)
