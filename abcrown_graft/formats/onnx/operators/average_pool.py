"""AveragePool over one or two axes."""

from __future__ import annotations

import numpy as np

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.elementwise import scaled
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.spatial import ATTRIBUTES, Sliding, image_of, out_shape, sliding
from abcrown_graft.formats.onnx.values import Operand, Variable
from abcrown_graft.network import operators as op


@OPERATORS.register("AveragePool")
def average_pool(call: Call) -> Operand:
    """The mean over windows; where padding does not count, the mean with it is scaled up at the borders."""
    options = call.options(**ATTRIBUTES, ceil_mode=0, count_include_pad=0, dilations=())
    variable = call.variable()
    source, image = image_of(call, variable)
    places = sliding(call, options, variable, options["kernel_shape"])
    if max(places.dilation) > 1:
        raise call.refuse("dilations")
    rescaled = places.is_padded and not options["count_include_pad"]
    part = "with padding" if rescaled else ""
    padding = places.begin
    if not places.is_even or any(2 * p > k for p, k in zip(padding, places.kernel, strict=True)):
        source, padding = call.add(op.Pad(places.amounts), source, part="padded"), (0, 0)
    name = call.add(op.AvgPool2d(places.kernel, places.stride, padding), source, part=part)
    mean = Variable(name, out_shape(variable, image[0], places.output))
    return scaled(call, mean, _correction(call, places, image[1:], len(variable.shape)), 0.0) if rescaled else mean


def _correction(call: Call, places: Sliding, size: tuple[int, ...], axes: int) -> np.ndarray:
    """Window size by number of real pixels in it, over the result's pixels."""
    real = [_real_pixels(places, size[axis], axis) for axis in (0, 1)]
    if not all(count.all() for count in real):
        raise call.damaged("a window that lies in the padding")
    found = places.kernel[0] * places.kernel[1] / np.outer(*real)
    return found[0] if axes == 3 else found


def _real_pixels(places: Sliding, size: int, axis: int) -> np.ndarray:
    """How many places of each window along an axis lie on the image."""
    start = np.arange(places.output[axis]) * places.stride[axis] - places.begin[axis]
    return (np.minimum(start + places.kernel[axis], size) - np.maximum(start, 0)).clip(min=0)
