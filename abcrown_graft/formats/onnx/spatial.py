"""Kernels that slide over one or two axes: their attributes, and where they lie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from abcrown_graft.formats.onnx.builder import check_size
from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.values import Shape, Variable

Pair = tuple[int, int]

ATTRIBUTES: dict[str, Any] = {"auto_pad": "NOTSET", "kernel_shape": (), "pads": (), "strides": ()}
MAX_SIZE = 2**20  # of an attribute; more cannot be meant


@dataclass(frozen=True)
class Sliding:
    """A kernel over `(height, width)`; a single axis is a width.

    Attributes:
        kernel, stride, dilation: per axis.
        begin, end: padding in front of and behind each axis.
        output: size of the result.
    """

    kernel: Pair
    stride: Pair
    dilation: Pair
    begin: Pair
    end: Pair
    output: Pair

    @property
    def is_padded(self) -> bool:
        """Whether there is any padding."""
        return any(self.begin + self.end)

    @property
    def is_even(self) -> bool:
        """Whether the padding is the same on both sides."""
        return self.begin == self.end

    @property
    def amounts(self) -> tuple[int, int, int, int]:
        """The padding in torch's order: left, right, top, bottom."""
        return self.begin[1], self.end[1], self.begin[0], self.end[0]


def image_of(call: Call, value: Variable) -> tuple[str, Shape]:
    """Name of a node that holds a batch of one image as `(channels, height, width)`, and that shape.

    Raises:
        UnsupportedError: it is a batch of several, or has not one or two axes in space.
    """
    batch, *image = value.shape or (1,)
    if len(image) not in (2, 3):
        raise call.refuse(f"a tensor of shape {list(value.shape)}; one or two axes in space are supported")
    if batch != 1:
        raise call.refuse(f"a batch of {batch} images; export the network for a batch of 1")
    shape = (image[0], 1, image[1]) if len(image) == 2 else tuple(image)
    return call.laid_out(value, shape), shape


def out_shape(value: Variable, channels: int, output: Pair) -> Shape:
    """The result's shape, as ONNX has it, for an operand that `image_of` takes.

    Args:
        value: the operand.
        channels: of the result.
        output: height and width of the result.
    """
    return (1, channels, output[1]) if len(value.shape) == 3 else (1, channels, *output)


def sliding(call: Call, options: dict[str, Any], value: Variable, kernel: tuple[int, ...]) -> Sliding:
    """Reads the attributes of convolutions and poolings, named as in `ATTRIBUTES`, `dilations` and `ceil_mode`.

    Args:
        options: with their defaults: empty tuples.
        value: what the kernel slides over.
        kernel: its size per axis.

    Raises:
        ModelError: a size is missing, negative, or of the wrong number of axes, or the kernel does not fit.
        UnsupportedError: rounding up changes the size.
    """
    size = value.shape[2:]
    axes = len(size)
    strides, dilations = (options.get(name) or (1,) * axes for name in ("strides", "dilations"))
    pads = options["pads"] or (0,) * (2 * axes)
    if (len(kernel), len(strides), len(dilations), len(pads)) != (axes, axes, axes, 2 * axes):
        raise call.damaged(f"kernel, strides, dilations and pads do not fit {axes} axes")
    if min(*kernel, *strides, *dilations) < 1 or min(pads) < 0 or max(*kernel, *strides, *dilations, *pads) > MAX_SIZE:
        raise call.damaged("a kernel size, stride, dilation or pad is out of range")
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    begin, end = _padding(call, options, size, strides, reach, pads)
    room = [n + b + e - r for n, b, e, r in zip(size, begin, end, reach, strict=True)]
    if min(room) < 0:
        raise call.damaged(f"a kernel that reaches over {reach} does not fit on {list(size)}")
    if options.get("ceil_mode") and any(r % s for r, s in zip(room, strides, strict=True)):
        raise call.refuse("ceil_mode where it changes the size of the result")
    output = [r // s + 1 for r, s in zip(room, strides, strict=True)]
    check_size((value.shape[1], *(n + b + e for n, b, e in zip(size, begin, end, strict=True))))
    check_size((value.shape[1], *output))
    pairs = (_pair(kernel, 1), _pair(strides, 1), _pair(dilations, 1), _pair(begin, 0), _pair(end, 0))
    return Sliding(*pairs, _pair(output, 1))


def _padding(
    call: Call, options: dict[str, Any], size: Shape, strides: Shape, reach: list[int], pads: Shape
) -> tuple[Shape, Shape]:
    kind = options["auto_pad"]
    if kind == "NOTSET":
        return pads[: len(size)], pads[len(size) :]
    if any(pads) or kind not in ("VALID", "SAME_UPPER", "SAME_LOWER"):
        raise call.damaged(f"auto_pad {kind!r} with pads {list(pads)}")
    if kind == "VALID":
        return (0,) * len(size), (0,) * len(size)
    total = [max((math.ceil(n / s) - 1) * s + r - n, 0) for n, s, r in zip(size, strides, reach, strict=True)]
    less, more = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    return (less, more) if kind == "SAME_UPPER" else (more, less)


def _pair(values: Any, alone: int) -> Pair:
    first, second = values if len(values) == 2 else (alone, values[0])
    return first, second
