"""Bounds on every pre-activation of a network, and on linear functions of its output.

One forward traversal: interval arithmetic gives a first box for each node; where an activation
reads the node, CROWN's backward pass tightens the neurons that matter, which are the unstable and
ungrafted ones. A grafted neuron is linear, so its own bounds are never needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from abcrown_graft.bounds.backward import lower_bound
from abcrown_graft.bounds.box import Box
from abcrown_graft.bounds.interval import interval
from abcrown_graft.bounds.relaxation import Relaxation, relax
from abcrown_graft.bounds.rounding import Magnitudes
from abcrown_graft.bounds.windowed import bound_neurons
from abcrown_graft.bounds.windows import is_windowed, largest_window
from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network, Node

METHODS = ("interval", "crown")
CHUNK_ELEMENTS = {"cpu": 2**22, "cuda": 2**27}  # numbers in one coefficient tensor: fits a CPU's cache, fills a GPU


@dataclass(frozen=True, eq=False)
class NetworkBounds:
    """What is known of a network over a batch of input boxes.

    Attributes:
        pre_activation: box of what goes into each activation, `(batch, *neurons)`, by site.
        relaxations: the lines that enclose each activation on that box, by site.
        output: interval of the output.
        error: bound on the rounding error of any backward pass from the output with unit
            coefficients, `(batch, *output shape)`; zero unless asked for.
        pre_error: the same for what goes into each activation, by site.
    """

    network: Network
    box: Box
    pre_activation: Mapping[str, Box]
    relaxations: Mapping[str, Relaxation]
    output: Box
    error: Tensor
    pre_error: Mapping[str, Tensor]

    def unstable(self, site: str) -> Tensor:
        """Boolean `(batch, *neurons)`: neurons of the site that are neither stable nor grafted."""
        mask = self.network.grafted_mask(site).to(self.box.lower.device)
        return self.pre_activation[site].unstable() & ~mask

    def select(self, images: Tensor) -> NetworkBounds:
        """The bounds of some images of the batch, in the given order."""
        return NetworkBounds(
            self.network,
            self.box[images],
            {site: box[images] for site, box in self.pre_activation.items()},
            {site: lines[images] for site, lines in self.relaxations.items()},
            self.output[images],
            self.error[images],
            {site: error[images] for site, error in self.pre_error.items()},
        )


def bound_network(network: Network, box: Box, method: str = "crown", rigorous: bool = False) -> NetworkBounds:
    """Bounds on all pre-activations.

    Args:
        network: in the precision and on the device of the box.
        box: of inputs, `(batch, *input shape)`.
        method: "interval", or "crown": the intersection of interval and CROWN bounds.
        rigorous: widen every bound by a bound on its own rounding error (see `rounding`), so that
            it holds in real arithmetic. Meant for float64.
    """
    if method not in METHODS:
        raise ValueError(f"unknown bound method {method!r}; known: {', '.join(METHODS)}")
    boxes = {network.input.name: box}
    pre_activation: dict[str, Box] = {}
    relaxations: dict[str, Relaxation] = {}
    magnitudes = Magnitudes(network, box) if rigorous else None
    for node in network.nodes[1:]:
        if isinstance(node.operator, op.Activation):
            z = boxes[node.inputs[0]]
            if method == "crown":
                z = _tightened(network, node, z, relaxations, box, magnitudes)
                boxes[node.inputs[0]] = z
            pre_activation[node.name] = z
            relaxations[node.name] = relax(node.operator, z)
        boxes[node.name] = interval(node.operator, *(boxes[name] for name in node.inputs))
        if magnitudes is not None:
            magnitudes.add(node, relaxations.get(node.name))
            boxes[node.name] = magnitudes.widen(node.name, boxes[node.name])
    output = boxes[network.output.name]

    def error(name: str) -> Tensor:
        return torch.zeros_like(boxes[name].lower) if magnitudes is None else magnitudes.error(name)

    pre_error = {node.name: error(node.inputs[0]) for node in network.activations}
    return NetworkBounds(network, box, pre_activation, relaxations, output, error(network.output.name), pre_error)


def margin_lower_bounds(bounds: NetworkBounds, rows: Tensor, method: str = "crown") -> Tensor:
    """Lower bounds `(batch, spec)` of the linear functions `rows` of the output.

    Args:
        bounds: from `bound_network`.
        rows: coefficients `(batch, spec, outputs)`.
        method: "interval" uses the output's interval alone, "crown" the backward pass.

    With rigorous bounds, what rounding can have added is subtracted.
    """
    if method == "interval":
        positive, negative = rows.clamp(min=0), rows.clamp(max=0)
        lower, upper = bounds.output.lower.unsqueeze(2), bounds.output.upper.unsqueeze(2)
        found = (positive @ lower + negative @ upper).squeeze(2)
    else:
        found = lower_bound(bounds.network, bounds.network.output.name, rows, bounds.relaxations, bounds.box)
    return found - (rows.abs() @ bounds.error.unsqueeze(2)).squeeze(2)


def _tightened(
    network: Network,
    node: Node,
    z: Box,
    relaxations: Mapping[str, Relaxation],
    box: Box,
    magnitudes: Magnitudes | None,
) -> Box:
    """`z` with CROWN bounds intersected where a neuron is unstable and not grafted."""
    name = node.inputs[0]
    if _is_exact(network, name):
        return z
    wanted = (z.unstable() & ~network.grafted_mask(node.name).to(z.lower.device)).flatten(1)
    lower, upper = z.lower.flatten(1).clone(), z.upper.flatten(1).clone()
    error = magnitudes.error(name).flatten(1) if magnitudes is not None else torch.zeros_like(lower)
    tighten = _tighten_windows if is_windowed(network, name) else _tighten_dense
    for image, neuron, found in tighten(network, name, wanted, relaxations, box):
        lower[image, neuron] = torch.maximum(lower[image, neuron], found.lower - error[image, neuron])
        upper[image, neuron] = torch.minimum(upper[image, neuron], found.upper + error[image, neuron])
    return Box(lower.view_as(z.lower), upper.view_as(z.upper))


Found = Iterator[tuple[Tensor, Tensor, Box]]


def _tighten_windows(
    network: Network, name: str, wanted: Tensor, relaxations: Mapping[str, Relaxation], box: Box
) -> Found:
    """CROWN bounds of the wanted neurons `(batch, neurons)`, a chunk of (image, neuron) pairs at a time."""
    images, neurons = wanted.nonzero(as_tuple=True)
    if not len(images):
        return
    size = max(1, CHUNK_ELEMENTS[wanted.device.type] // (4 * largest_window(network, name)))
    for image, neuron in zip(images.split(size), neurons.split(size), strict=True):
        yield image, neuron, Box(*bound_neurons(network, name, image, neuron, relaxations, box))


def _tighten_dense(
    network: Network, name: str, wanted: Tensor, relaxations: Mapping[str, Relaxation], box: Box
) -> Found:
    """As `_tighten_windows`, with rows over whole layers.

    Images that want fewer neurons than others bound some for nothing. These bounds are dropped: what is
    known of an image must not depend on the rest of its batch.
    """
    count = int(wanted.sum(1).max()) if len(wanted) else 0
    if not count:
        return
    neurons = torch.argsort(wanted, dim=1, descending=True, stable=True)[:, :count]
    image = torch.arange(len(wanted), device=wanted.device).unsqueeze(1)
    for part in neurons.split(_rows_per_chunk(network, name, wanted), dim=1):
        found, asked = Box(*_crown_rows(network, name, part, relaxations, box)), wanted.gather(1, part)
        yield image.expand_as(part)[asked], part[asked], found[asked]


def _is_exact(network: Network, name: str) -> bool:
    """Whether interval bounds of the node are exact already: one affine layer after the input."""
    return _mixing_layers(network, network.by_name[name]) <= 1


def _mixing_layers(network: Network, node: Node) -> float:
    """Layers that mix neurons on the way from the input; infinite behind activations and joins."""
    if isinstance(node.operator, op.Input):
        return 0
    if isinstance(node.operator, (op.Activation, op.Add)):
        return float("inf")
    mixing = isinstance(node.operator, (op.Conv2d, op.Linear, op.AvgPool2d))
    return mixing + max(_mixing_layers(network, network.by_name[name]) for name in node.inputs)


def _rows_per_chunk(network: Network, name: str, wanted: Tensor) -> int:
    """How many neurons per image go into one backward pass, so that memory stays bounded."""
    names = [n.name for n in network.nodes]
    before = network.nodes[: names.index(name) + 1]
    largest = max(torch.Size(n.shape).numel() for n in before)
    return max(1, CHUNK_ELEMENTS[wanted.device.type] // (2 * largest * len(wanted)))


def _crown_rows(
    network: Network, name: str, neurons: Tensor, relaxations: Mapping[str, Relaxation], box: Box
) -> tuple[Tensor, Tensor]:
    """CROWN lower and upper bounds `(batch, k)` of the given neurons `(batch, k)` of a node."""
    shape = network.by_name[name].shape
    rows = box.lower.new_zeros(*neurons.shape, torch.Size(shape).numel())
    rows.scatter_(2, neurons.unsqueeze(2), 1.0)
    rows = rows.view(*neurons.shape, *shape)
    found = lower_bound(network, name, torch.cat([rows, -rows], dim=1), relaxations, box)
    lower, upper = found.chunk(2, dim=1)
    return lower, -upper
