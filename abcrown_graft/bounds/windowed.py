"""CROWN's backward pass for neurons of convolutional layers: rules for windows, and the passes.

Same mathematics as `backward` and `adjoint`, on the receptive fields that `windows` describes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import singledispatch

import torch
from torch import Tensor
from torch.nn import functional

from abcrown_graft.bounds.box import Box
from abcrown_graft.bounds.relaxation import Relaxation
from abcrown_graft.bounds.windows import Windows
from abcrown_graft.errors import UnsupportedError
from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network

Rule = Callable[[str, Windows], "tuple[Windows, Tensor]"]
"""From a site and windows on its output to windows on its input and constants: `(rows,)`, or `(2, rows)` if signed."""


def bound_neurons(
    network: Network, name: str, image: Tensor, neuron: Tensor, relaxations: Mapping[str, Relaxation], box: Box
) -> tuple[Tensor, Tensor]:
    """CROWN lower and upper bounds `(rows,)` of single neurons of a windowed node.

    Args:
        network: the graph; `is_windowed(network, name)` holds.
        name: the node.
        image, neuron: which image of the batch, and which neuron of the flattened node, `(rows,)`.
        relaxations: of every activation before the node, by site.
        box: of inputs, `(batch, *input shape)`.
    """

    def rule(site: str, windows: Windows) -> tuple[Windows, Tensor]:
        return _through_lines(windows.with_signs(), relaxations[site], image)

    at_input, constant = pull_neurons_to_input(network, name, neuron, box.lower.dtype, rule)
    lower, upper = (constant + _minimum(at_input.with_signs(), image, box)).unbind(0)
    return lower, -upper


def pull_neurons_to_input(
    network: Network, name: str, neuron: Tensor, dtype: torch.dtype, rule: Rule
) -> tuple[Windows, Tensor]:
    """Single neurons of a windowed node as functions of the network's input.

    Args:
        network, name, neuron: as in `bound_neurons`.
        dtype: of the coefficients.
        rule: what becomes of windows at an activation; it may give them signs.

    Returns:
        Windows on the input, and constants `(2, rows)`: of the rows and of their negatives.
    """
    pending = {name: _single_neurons(neuron, network.by_name[name].shape, dtype)}
    constant = torch.zeros(2, len(neuron), dtype=dtype, device=neuron.device)
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
        constant = constant + (added if added.dim() == 2 else torch.stack([added, -added]))
        for source, part in zip(node.inputs, parts, strict=True):
            pending[source] = pending[source] + part if source in pending else part
    return pending[network.input.name], constant


def _single_neurons(neuron: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Windows:
    channels, height, width = shape
    channel, place = neuron // (height * width), neuron % (height * width)
    values = torch.zeros(len(neuron), channels, 1, 1, dtype=dtype, device=neuron.device)
    values[torch.arange(len(neuron), device=neuron.device), channel] = 1
    return Windows(values, place // width, place % width, shape)


def _through_lines(windows: Windows, lines: Relaxation, image: Tensor) -> tuple[Windows, Tensor]:
    """As in `backward`; the lines are looked up for the unsigned rows and used for both halves."""
    half = len(image)
    at = replace(windows, top=windows.top[:half], left=windows.left[:half]).positions(image)
    lower_slope, upper_slope, lower_intercept, upper_intercept = (
        values.take(at)
        for values in (lines.lower_slope, lines.upper_slope, lines.lower_intercept, lines.upper_intercept)
    )
    positive = windows.values.clamp(min=0).unflatten(0, (2, half))
    negative = windows.values.clamp(max=0).unflatten(0, (2, half))
    constant = (positive * lower_intercept + negative * upper_intercept).flatten(2).sum(2)
    pulled = positive.mul_(lower_slope).add_(negative.mul_(upper_slope))
    return replace(windows, values=pulled.flatten(0, 1)), constant


def _minimum(windows: Windows, image: Tensor, box: Box) -> Tensor:
    """Minimum `(2, rows)` over the box of the functions at the input."""
    half = len(image)
    at = replace(windows, top=windows.top[:half], left=windows.left[:half]).positions(image)
    values = windows.values.unflatten(0, (2, half))
    least = values.clamp(min=0) * box.lower.take(at) + values.clamp(max=0) * box.upper.take(at)
    return least.flatten(2).sum(2)


PulledBack = tuple[tuple[Windows, ...], Tensor]


@singledispatch
def pull_back_windows(operator: op.Operator, windows: Windows, input_shapes: tuple[tuple[int, ...], ...]) -> PulledBack:
    """Windows at every input, and constants, `(rows,)` or `(2, rows)` if signed; as `adjoint.pull_back`."""
    raise UnsupportedError(f"operator {type(operator).__name__} has no rule for windows")


@pull_back_windows.register
def _(operator: op.Conv2d, windows: Windows, input_shapes: tuple[tuple[int, ...], ...]) -> PulledBack:
    values = functional.conv_transpose2d(
        windows.values, operator.weight, stride=operator.stride, groups=operator.groups, dilation=operator.dilation
    )
    constant = _by_sign(windows, windows.values.sum((2, 3)) @ operator.bias)
    return (_moved(windows, values, operator.stride, operator.padding, input_shapes[0]),), constant


@pull_back_windows.register
def _(operator: op.AvgPool2d, windows: Windows, input_shapes: tuple[tuple[int, ...], ...]) -> PulledBack:
    channels = windows.shape[0]
    kernel = windows.values.new_full((channels, 1, *operator.kernel), 1 / (operator.kernel[0] * operator.kernel[1]))
    values = functional.conv_transpose2d(windows.values, kernel, stride=operator.stride, groups=channels)
    moved = _moved(windows, values, operator.stride, operator.padding, input_shapes[0])
    return (moved,), _nothing(windows)


def _moved(
    windows: Windows, values: Tensor, stride: tuple[int, int], padding: tuple[int, int], shape: tuple[int, ...]
) -> Windows:
    top, left = windows.top * stride[0] - padding[0], windows.left * stride[1] - padding[1]
    return replace(windows, values=values, top=top, left=left, shape=shape).trimmed()


@pull_back_windows.register
def _(operator: op.Pad, windows: Windows, input_shapes: tuple[tuple[int, ...], ...]) -> PulledBack:
    left, _, top, _ = operator.amounts
    moved = replace(windows, top=windows.top - top, left=windows.left - left, shape=input_shapes[0]).trimmed()
    return (moved,), _nothing(windows)


@pull_back_windows.register
def _(operator: op.Add, windows: Windows, input_shapes: tuple[tuple[int, ...], ...]) -> PulledBack:
    return (windows, windows), _nothing(windows)


@pull_back_windows.register
def _(operator: op.Concat, windows: Windows, input_shapes: tuple[tuple[int, ...], ...]) -> PulledBack:
    parts = windows.values.split([shape[0] for shape in input_shapes], dim=1)
    split = tuple(replace(windows, values=v, shape=shape) for v, shape in zip(parts, input_shapes, strict=True))
    return split, _nothing(windows)


@pull_back_windows.register
def _(operator: op.Scale, windows: Windows, input_shapes: tuple[tuple[int, ...], ...]) -> PulledBack:
    channels = windows.shape[0]
    scale, shift = operator.scale.reshape(-1).expand(channels), operator.shift.reshape(-1).expand(channels)
    constant = _by_sign(windows, windows.values.sum((2, 3)) @ shift)
    return (replace(windows, values=windows.values * scale.view(-1, 1, 1)),), constant


def _by_sign(windows: Windows, constant: Tensor) -> Tensor:
    return constant.view(2, -1) if windows.signed else constant


def _nothing(windows: Windows) -> Tensor:
    return _by_sign(windows, windows.values.new_zeros(len(windows.values)))
