"""BatchNormalization in inference: one scale and shift per channel."""

from __future__ import annotations

import numpy as np

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.elementwise import scaled
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Operand


@OPERATORS.register("BatchNormalization")
def batch_normalization(call: Call) -> Operand:
    """`(x - mean) / sqrt(var + epsilon) * scale + bias`; channels are the second axis."""
    options = call.options(epsilon=1e-5, momentum=0.9, spatial=1, training_mode=0)
    if options["training_mode"] or not options["spatial"]:
        raise call.refuse("statistics of a batch or of single pixels; export the network in evaluation mode")
    variable = call.variable()
    vectors = [call.weight(position) for position in (1, 2, 3, 4)]
    if len(variable.shape) < 2 or any(vector.shape != (variable.shape[1],) for vector in vectors):
        raise call.damaged(f"vectors of shapes {[list(v.shape) for v in vectors]} for {list(variable.shape)}")
    weight, bias, mean, variance = vectors
    if not (variance + options["epsilon"] > 0).all():
        raise call.damaged("a variance that is not positive")
    scale = weight / np.sqrt(variance + options["epsilon"])
    channels = (-1,) + (1,) * (len(variable.shape) - 2)
    return scaled(call, variable, scale.reshape(channels), (bias - mean * scale).reshape(channels))
