"""MaxPool over one or two axes, exactly: `max(a, b) = b + relu(a - b)`, a tree of them over each window.

The places of a window are read by convolutions with a single one in the kernel, so that receptive fields stay
small and known. Padding never wins: it repeats the border, which lies in every window that the padding
lies in; after a ReLU it is zero.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.spatial import ATTRIBUTES, Pair, Sliding, image_of, out_shape, sliding
from abcrown_graft.formats.onnx.values import Operand, Variable
from abcrown_graft.network import operators as op

MAX_WINDOW = 64


@OPERATORS.register("MaxPool")
def max_pool(call: Call) -> Operand:
    """The maximum over windows."""
    options = call.options(**ATTRIBUTES, ceil_mode=0, dilations=(), storage_order=0)
    variable = call.variable()
    source, image = image_of(call, variable)
    places = sliding(call, options, variable, options["kernel_shape"])
    if places.kernel[0] * places.kernel[1] > MAX_WINDOW:
        raise call.refuse(f"windows of more than {MAX_WINDOW} numbers")
    if places.is_padded and max(places.dilation) > 1:
        raise call.refuse("dilations together with padding")
    if any(p >= k for p, k in zip(places.begin + places.end, places.kernel * 2, strict=True)):
        raise call.damaged("padding as large as the kernel")
    source = _padded(call, source, image, places) if places.is_padded else source
    return Variable(_Tree(call, source, image[0], places).maximum(), out_shape(variable, image[0], places.output))


def _padded(call: Call, source: str, image: tuple[int, ...], places: Sliding) -> str:
    """The image with padding that is never larger than the rest of its window."""
    if isinstance(call.builder.node(source).operator, op.ReLU):
        return call.add(op.Pad(places.amounts), source, part="padded")
    numbers = np.arange(1, np.prod(image) + 1).reshape(image)
    around = ((0, 0), *zip(places.begin, places.end, strict=True))
    return call.select(source, np.pad(numbers, around, mode="edge"), part="padded")


class _Tree:
    """The pairs of a window's places, then pairs of those, up to the last one."""

    def __init__(self, call: Call, source: str, channels: int, places: Sliding) -> None:
        self.call, self.source, self.channels, self.places = call, source, channels, places

    def maximum(self) -> str:
        """Name of the node that holds the largest number of every window."""
        height, width = self.places.kernel
        at = list(itertools.product(range(height), range(width)))
        if len(at) == 1:
            return self._read(at[0])
        last = len(at) == 2
        found = [self._larger_place(a, b, last) for a, b in zip(at[::2], at[1::2], strict=False)]
        found += [self._read(at[-1])] if len(at) % 2 else []
        while len(found) > 1:
            last = len(found) == 2
            pairs = [self._larger(a, b, last) for a, b in zip(found[::2], found[1::2], strict=False)]
            found = pairs + found[2 * len(pairs) :]
        return found[0]

    def _larger_place(self, first: Pair, second: Pair, last: bool) -> str:
        kernel = self._kernel(first) - self._kernel(second)
        return self._sum(self._convolved(kernel, "difference"), self._convolved(self._kernel(second), "place"), last)

    def _larger(self, first: str, second: str, last: bool) -> str:
        scalar = torch.tensor(-1.0, dtype=torch.float64)
        negative = self.call.add(op.Scale(scalar, torch.zeros_like(scalar)), second, part="negative")
        return self._sum(self.call.add(op.Add(), first, negative, part="difference"), second, last)

    def _sum(self, difference: str, second: str, last: bool) -> str:
        """`second + relu(difference)`."""
        gain = self.call.add(op.ReLU(), difference, part="max")
        return self.call.add(op.Add(), second, gain, part="" if last else "larger")

    def _read(self, place: Pair) -> str:
        return self._convolved(self._kernel(place), "place")

    def _kernel(self, place: Pair) -> Tensor:
        kernel = torch.zeros(self.channels, 1, *self.places.kernel, dtype=torch.float64)
        kernel[:, 0, place[0], place[1]] = 1
        return kernel

    def _convolved(self, kernel: Tensor, part: str) -> str:
        bias = kernel.new_zeros(self.channels)
        operator = op.Conv2d(kernel, bias, self.places.stride, (0, 0), self.places.dilation, self.channels)
        return self.call.add(operator, self.source, part=part)
