"""LeakyRelu: an activation, convex where its slope is at most one."""

from __future__ import annotations

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.elementwise import rectified
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Operand
from abcrown_graft.network import operators as op


@OPERATORS.register("LeakyRelu")
def leaky_relu(call: Call) -> Operand:
    """`max(x, 0) + alpha * min(x, 0)` with alpha in [0, 1]."""
    alpha = call.options(alpha=0.01)["alpha"]
    if not 0 <= alpha <= 1:
        raise call.refuse(f"a slope of {alpha}; between 0 and 1 is supported")
    return rectified(call, call.variable(), op.LeakyReLU(alpha))
