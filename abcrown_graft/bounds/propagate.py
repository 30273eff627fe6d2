"""Bounds on every pre-activation of a network, and on linear functions of its output.

One forward traversal: interval arithmetic gives a first box for each node; where an activation
reads the node, CROWN's backward pass tightens the neurons that matter, which are the unstable and
ungrafted ones. A grafted neuron is linear, so its own bounds are never needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from abcrown_graft.bounds.backward import lower_lines
from abcrown_graft.bounds.rounding import Magnitudes
from abcrown_graft.bounds.tighten import Bounded, tightened
from abcrown_graft.geometry.box import Box
from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network
from abcrown_graft.network.relaxation import Relaxation

METHODS = ("interval", "crown")


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
        return self.network.activation(site).unstable(self.pre_activation[site])

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


def bound_network(
    network: Network,
    box: Box,
    method: str = "crown",
    rigorous: bool = False,
    raise_if_late: Callable[[], None] = lambda: None,
) -> NetworkBounds:
    """Bounds on all pre-activations.

    Args:
        network: in the precision and on the device of the box.
        box: of inputs, `(batch, *input shape)`.
        method: "interval", or "crown": the intersection of interval and CROWN bounds.
        rigorous: widen every bound by a bound on its own rounding error (see `rounding`), so that
            it holds in real arithmetic. Meant for float64.
        raise_if_late: called between chunks of work; may raise to end it.
    """
    if method not in METHODS:
        raise ValueError(f"unknown bound method {method!r}; known: {', '.join(METHODS)}")
    boxes = {network.input.name: box}
    pre_activation: dict[str, Box] = {}
    relaxations: dict[str, Relaxation] = {}
    magnitudes = Magnitudes(network, box) if rigorous else None
    bounded = Bounded(network, boxes, relaxations, raise_if_late)
    for node in network.nodes[1:]:
        if isinstance(node.operator, op.Activation):
            z = boxes[node.inputs[0]]
            if method == "crown":
                z = tightened(bounded, node, magnitudes)
                boxes[node.inputs[0]] = z
            pre_activation[node.name] = z
            relaxations[node.name] = node.operator.relax(z)
        boxes[node.name] = node.operator.interval(*(boxes[name] for name in node.inputs))
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
    if method != "interval":
        return margin_lower_lines(bounds, rows)[1]
    positive, negative = rows.clamp(min=0), rows.clamp(max=0)
    lower, upper = bounds.output.lower.unsqueeze(2), bounds.output.upper.unsqueeze(2)
    return _without_rounding((positive @ lower + negative @ upper).squeeze(2), bounds, rows)


def margin_lower_lines(bounds: NetworkBounds, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Linear functions of the input below the linear functions `rows` of the output.

    For every x in a box of corner p, where the line is smallest: `margin(x) >= lower + coefficients (x - p)`.

    Args:
        bounds: from `bound_network`; if they are rigorous, that inequality is.
        rows: as in `margin_lower_bounds`.

    Returns:
        Coefficients `(batch, spec, *input shape)` and lower bounds `(batch, spec)`.
    """
    output = bounds.network.output.name
    coefficients, found = lower_lines(bounds.network, output, rows, bounds.relaxations, bounds.box)
    return coefficients, _without_rounding(found, bounds, rows)


def _without_rounding(found: Tensor, bounds: NetworkBounds, rows: Tensor) -> Tensor:
    return found - (rows.abs() @ bounds.error.unsqueeze(2)).squeeze(2)
