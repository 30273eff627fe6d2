"""CROWN's backward pass for neurons of convolutional layers: rules for windows, and the passes.

Same mathematics as `backward` and `adjoint`, on the receptive fields that `windows` describes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, singledispatch

import torch
from torch import Tensor
from torch.nn import functional

from abcrown_graft.bounds.relaxation import Relaxation
from abcrown_graft.bounds.windows import Windows, grown
from abcrown_graft.errors import UnsupportedError
from abcrown_graft.geometry.box import Box
from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network

MAX_WINDOW_MATRIX = 2**17  # entries up to which a CPU multiplies whole windows faster than it convolves them

Rule = Callable[[str, Windows], "tuple[Windows, Tensor]"]
"""From a site and windows on its output to windows on its input and constants `(rows,)`."""


def bound_neurons(
    network: Network,
    name: str,
    image: Tensor,
    neuron: Tensor,
    sign: Tensor,
    relaxations: Mapping[str, Relaxation],
    box: Box,
) -> Tensor:
    """CROWN lower bounds `(rows,)` of single neurons of a windowed node, or of their negatives.

    Args:
        network: the graph; `is_windowed(network, name)` holds.
        name: the node.
        image, neuron: which image of the batch, and which neuron of the flattened node, `(rows,)`.
        sign: 1 bounds the neuron, -1 its negative, `(rows,)`, in the box's precision.
        relaxations: of every activation before the node, by site.
        box: of inputs, `(batch, *input shape)`.
    """

    def rule(site: str, windows: Windows) -> tuple[Windows, Tensor]:
        return _through_lines(windows, relaxations[site])

    at_input, constant = pull_neurons_to_input(network, name, image, neuron, sign, rule)
    values = at_input.values
    return constant + _dot(values, torch.where(values >= 0, at_input.look_up(box.lower), at_input.look_up(box.upper)))


def pull_neurons_to_input(
    network: Network, name: str, image: Tensor, neuron: Tensor, sign: Tensor, rule: Rule
) -> tuple[Windows, Tensor]:
    """Single neurons of a windowed node, times their signs, as functions of the network's input.

    Args:
        network, name, image, neuron, sign: as in `bound_neurons`.
        rule: what becomes of windows at an activation.

    Returns:
        Windows on the input, and constants `(rows,)`.
    """
    pending = {name: _single_neurons(image, neuron, sign, network.by_name[name].shape)}
    constant = torch.zeros_like(sign)
    order = [node.name for node in network.nodes]
    for current in reversed(order[1 : order.index(name) + 1]):
        if current not in pending:
            continue
        windows, node = pending.pop(current), network.by_name[current]
        if isinstance(node.operator, op.Activation):
            pulled, added = rule(current, windows)
            parts: tuple[Windows, ...] = (pulled,)
        else:
            shapes = tuple(network.by_name[source].shape for source in node.inputs)
            parts, added = pull_back_windows(node.operator, windows, shapes)
        constant = constant + added
        for source, part in zip(node.inputs, parts, strict=True):
            pending[source] = pending[source] + part if source in pending else part
    return pending[network.input.name], constant


def _single_neurons(image: Tensor, neuron: Tensor, sign: Tensor, shape: tuple[int, ...]) -> Windows:
    channels, height, width = shape
    channel, position = neuron // (height * width), neuron % (height * width)
    values = sign.new_zeros(len(neuron), channels, 1, 1)
    values[torch.arange(len(neuron), device=neuron.device), channel, 0, 0] = sign
    places, place = (image * (height * width) + position).unique(return_inverse=True)
    image, position = places // (height * width), places % (height * width)
    return Windows(values, place, image, position // width, position % width, shape)


def _through_lines(windows: Windows, lines: Relaxation) -> tuple[Windows, Tensor]:
    """As in `backward`."""
    values = windows.values
    constant = _dot(values.clamp(max=0), windows.look_up(lines.upper_intercept))
    if bool(lines.lower_intercept.any()):
        constant = constant + _dot(values.clamp(min=0), windows.look_up(lines.lower_intercept))
    slope = torch.where(values >= 0, windows.look_up(lines.lower_slope), windows.look_up(lines.upper_slope))
    return replace(windows, values=slope.mul_(values)), constant


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """Inner products `(rows,)`."""
    return torch.linalg.vecdot(first.flatten(1), second.flatten(1))


PulledBack = tuple[tuple[Windows, ...], "Tensor | float"]


@singledispatch
def pull_back_windows(operator: op.Operator, windows: Windows, input_shapes: tuple[tuple[int, ...], ...]) -> PulledBack:
    """Windows at every input, and constants `(rows,)` or 0; as `adjoint.pull_back`."""
    raise UnsupportedError(f"operator {type(operator).__name__} has no rule for windows")


@pull_back_windows.register
def _(operator: op.Conv2d, windows: Windows, input_shapes: tuple[tuple[int, ...], ...]) -> PulledBack:
    constant = windows.values.sum((2, 3)) @ operator.bias
    return (_moved(windows, _transposed(operator, windows.values), operator, input_shapes[0]),), constant


@pull_back_windows.register
def _(operator: op.AvgPool2d, windows: Windows, input_shapes: tuple[tuple[int, ...], ...]) -> PulledBack:
    channels = windows.shape[0]
    kernel = windows.values.new_full((channels, 1, *operator.kernel), 1 / (operator.kernel[0] * operator.kernel[1]))
    values = functional.conv_transpose2d(windows.values, kernel, stride=operator.stride, groups=channels)
    return (_moved(windows, values, operator, input_shapes[0]),), 0.0


def _transposed(operator: op.Conv2d, values: Tensor) -> Tensor:
    """The transposed convolution of windows `(rows, channels, h, w)`; by its matrix where that is small."""
    rows, channels, h, w = values.shape
    size, read = channels * h * w, operator.weight.shape[1] * operator.groups * math.prod(grown(operator, h, w))
    if values.device.type != "cpu" or size * read > MAX_WINDOW_MATRIX:
        return _convolved(operator, values)
    matrix = _window_matrix(operator, h, w)
    return (values.flatten(1) @ matrix.flatten(1)).view(rows, *matrix.shape[1:])


def _convolved(operator: op.Conv2d, values: Tensor) -> Tensor:
    return functional.conv_transpose2d(
        values, operator.weight, stride=operator.stride, groups=operator.groups, dilation=operator.dilation
    )


@lru_cache(maxsize=64)
def _window_matrix(operator: op.Conv2d, h: int, w: int) -> Tensor:
    """The windows `(entries, channels, height, width)` that the entries of a window of height h and width w become."""
    size = len(operator.weight) * h * w
    unit = torch.eye(size, dtype=operator.weight.dtype).view(size, len(operator.weight), h, w)
    return _convolved(operator, unit)


def _moved(windows: Windows, values: Tensor, operator: op.Conv2d | op.AvgPool2d, shape: tuple[int, ...]) -> Windows:
    top = windows.top * operator.stride[0] - operator.padding[0]
    left = windows.left * operator.stride[1] - operator.padding[1]
    return replace(windows, values=values, top=top, left=left, shape=shape).trimmed()


@pull_back_windows.register
def _(operator: op.Pad, windows: Windows, input_shapes: tuple[tuple[int, ...], ...]) -> PulledBack:
    left, _, top, _ = operator.amounts
    moved = replace(windows, top=windows.top - top, left=windows.left - left, shape=input_shapes[0]).trimmed()
    return (moved,), 0.0


@pull_back_windows.register
def _(operator: op.Add, windows: Windows, input_shapes: tuple[tuple[int, ...], ...]) -> PulledBack:
    return (windows, windows), 0.0


@pull_back_windows.register
def _(operator: op.Concat, windows: Windows, input_shapes: tuple[tuple[int, ...], ...]) -> PulledBack:
    parts = windows.values.split([shape[0] for shape in input_shapes], dim=1)
    split = tuple(replace(windows, values=v, shape=shape) for v, shape in zip(parts, input_shapes, strict=True))
    return split, 0.0


@pull_back_windows.register
def _(operator: op.Scale, windows: Windows, input_shapes: tuple[tuple[int, ...], ...]) -> PulledBack:
    channels = windows.shape[0]
    scale, shift = operator.scale.reshape(-1).expand(channels), operator.shift.reshape(-1).expand(channels)
    return (replace(windows, values=windows.values * scale.view(-1, 1, 1)),), windows.values.sum((2, 3)) @ shift
