"""Dropout in inference: nothing is dropped."""

from __future__ import annotations

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Operand


@OPERATORS.register("Dropout")
def dropout(call: Call) -> Operand:
    """The operand; `training_mode`, an input since opset 12, must be a constant false."""
    call.options(ratio=0.5, seed=0)
    if call.has(2) and call.array(2).any():
        raise call.refuse("training mode; export the network in evaluation mode")
    return call.operand(0)
