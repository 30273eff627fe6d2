"""Transpose: axes in another order."""

from __future__ import annotations

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Operand


@OPERATORS.register("Transpose")
def transpose(call: Call) -> Operand:
    """Axis k of the result is axis `perm[k]`; without `perm` the order is reversed."""
    value = call.operand(0)
    backwards = tuple(range(len(value.shape)))[::-1]
    order = call.options(perm=())["perm"] or backwards
    if sorted(order) != sorted(backwards):
        raise call.damaged(f"perm {list(order)} of a tensor of shape {list(value.shape)}")
    return call.rearranged(value, tuple(value.shape[k] for k in order), lambda array: array.transpose(order))
