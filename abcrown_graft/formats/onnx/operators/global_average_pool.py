"""GlobalAveragePool: the mean of each channel."""

from __future__ import annotations

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.spatial import image_of, out_shape
from abcrown_graft.formats.onnx.values import Operand, Variable
from abcrown_graft.network import operators as op


@OPERATORS.register("GlobalAveragePool")
def global_average_pool(call: Call) -> Operand:
    """The mean over all pixels."""
    call.options()
    variable = call.variable()
    source, (channels, height, width) = image_of(call, variable)
    name = call.add(op.AvgPool2d((height, width), (1, 1), (0, 0)), source)
    return Variable(name, out_shape(variable, channels, (1, 1)))
