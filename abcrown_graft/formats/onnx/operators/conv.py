"""Conv: a convolution over one or two axes."""

from __future__ import annotations

import numpy as np
import torch

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.spatial import ATTRIBUTES, image_of, out_shape, sliding
from abcrown_graft.formats.onnx.values import Operand, Variable
from abcrown_graft.network import operators as op


@OPERATORS.register("Conv")
def conv(call: Call) -> Operand:
    """A convolution with constant weights `(out, in / group, *kernel)` and zero padding."""
    options = call.options(**ATTRIBUTES, dilations=(), group=1)
    variable, weight = call.variable(), call.weight(1)
    source, image = image_of(call, variable)
    bias = call.weight(2) if call.has(2) else np.zeros(len(weight))
    group = options["group"]
    if weight.ndim != len(variable.shape) or options["kernel_shape"] not in ((), weight.shape[2:]):
        raise call.damaged(f"a kernel of shape {list(weight.shape)} for {list(variable.shape)}")
    fits = group > 0 and image[0] == group * weight.shape[1] and len(weight) % group == 0
    if not fits or bias.shape != (len(weight),):
        raise call.damaged(f"a kernel of shape {list(weight.shape)} in {group} groups for {image[0]} channels")
    places = sliding(call, options, variable, weight.shape[2:])
    padding = places.begin
    if not places.is_even:
        source, padding = call.add(op.Pad(places.amounts), source, part="padded"), (0, 0)
    kernel = torch.from_numpy(weight.reshape(*weight.shape[:2], *places.kernel))
    operator = op.Conv2d(kernel, torch.from_numpy(bias), places.stride, padding, places.dilation, group)
    return Variable(call.add(operator, source), out_shape(variable, len(weight), places.output))
