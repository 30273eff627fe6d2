"""CROWN's backward pass for neurons of convolutional layers.

Same mathematics as `backward`, on the receptive fields that `network.windows` describes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from abcrown_graft.bounds.reverse import pull_to_input
from abcrown_graft.geometry.box import Box
from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network, Node
from abcrown_graft.network.relaxation import Relaxation
from abcrown_graft.network.windows import Windows

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

    def affine(node: Node, operator: op.AffineOperator, windows: Windows) -> tuple[Sequence[Windows], Tensor | float]:
        return operator.pull_back_windows(windows, network.input_shapes(node.name))

    single = _single_neurons(image, neuron, sign, network.by_name[name].shape)
    return pull_to_input(network, name, single, torch.zeros_like(sign), rule, affine)


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
    products: Tensor = torch.linalg.vecdot(first.flatten(1), second.flatten(1))
    return products
