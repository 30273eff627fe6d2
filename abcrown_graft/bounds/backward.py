"""CROWN's backward pass: linear functions of a node, bounded from below over the input box.

Reference: Zhang et al. 2018, "Efficient neural network robustness certification with general
activation functions"; for graphs, Xu et al. 2020, "Automatic perturbation analysis".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from abcrown_graft.bounds import reverse
from abcrown_graft.geometry.box import Box
from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network, Node
from abcrown_graft.network.relaxation import Relaxation


def lower_bound(network: Network, start: str, rows: Tensor, relaxations: Mapping[str, Relaxation], box: Box) -> Tensor:
    """Lower bounds `(batch, spec)` of the linear functions `rows` of node `start` over the box.

    Args:
        network: the graph.
        start: name of the node that the rows are functions of.
        rows: coefficients `(batch, spec, *shape of start)`.
        relaxations: of every activation before `start`, by site.
        box: of inputs, `(batch, *input shape)`.
    """
    return lower_lines(network, start, rows, relaxations, box)[1]


def lower_lines(
    network: Network, start: str, rows: Tensor, relaxations: Mapping[str, Relaxation], box: Box
) -> tuple[Tensor, Tensor]:
    """The linear functions of the input that bound the `rows` from below, and their minima over the box.

    Args:
        network, start, rows, relaxations, box: as in `lower_bound`.

    Returns:
        Coefficients `(batch, spec, *input shape)` and minima `(batch, spec)`.
    """
    at_input, constant = pull_to_input(
        network, start, rows, lambda site, coefficients: through_lines(coefficients, relaxations[site])
    )
    return at_input, constant + minimum_over_box(at_input, box)


ActivationRule = Callable[[str, Tensor], "tuple[Tensor, Tensor | float]"]
"""From a site and coefficients `(batch, spec, *neurons)` after it to those before it, and constants `(batch, spec)`."""


def pull_to_input(network: Network, start: str, rows: Tensor, rule: ActivationRule) -> tuple[Tensor, Tensor]:
    """The linear functions `rows` of node `start` as functions of the network's input.

    Args:
        network, start, rows: as in `lower_bound`.
        rule: what becomes of coefficients at an activation.

    Returns:
        Coefficients `(batch, spec, *input shape)` and constants `(batch, spec)`.
    """
    batch, spec = rows.shape[:2]

    def activation(site: str, coefficients: Tensor) -> tuple[Tensor, Tensor | float]:
        pulled, added = rule(site, coefficients.unflatten(0, (batch, spec)))
        return pulled.flatten(0, 1), added

    def affine(
        node: Node, operator: op.AffineOperator, coefficients: Tensor
    ) -> tuple[Sequence[Tensor], Tensor | float]:
        parts, added = operator.pull_back(coefficients, network.input_shapes(node.name))
        return parts, added.unflatten(0, (batch, spec)) if isinstance(added, Tensor) else added

    constant = rows.new_zeros(batch, spec)
    at_input, constant = reverse.pull_to_input(network, start, rows.flatten(0, 1), constant, activation, affine)
    return at_input.unflatten(0, (batch, spec)), constant


def through_lines(coefficients: Tensor, lines: Relaxation) -> tuple[Tensor, Tensor]:
    """For `A f(z)`: a positive coefficient takes the lower line, a negative one the upper line."""
    positive = coefficients.clamp(min=0)
    negative = coefficients.clamp(max=0)
    constant = _dot(positive, lines.lower_intercept) + _dot(negative, lines.upper_intercept)
    if constant.requires_grad:  # both factors are needed again, as they are
        pulled = positive * lines.lower_slope.unsqueeze(1) + negative * lines.upper_slope.unsqueeze(1)
        return pulled, constant
    pulled = positive.mul_(lines.lower_slope.unsqueeze(1)).add_(negative.mul_(lines.upper_slope.unsqueeze(1)))
    return pulled, constant


def minimum_over_box(coefficients: Tensor, box: Box) -> Tensor:
    """`min_x A x` over the box: `A⁺ lower + A⁻ upper`; coefficients `(batch, spec, *shape)`."""
    return _dot(coefficients.clamp(min=0), box.lower) + _dot(coefficients.clamp(max=0), box.upper)


def _dot(coefficients: Tensor, values: Tensor) -> Tensor:
    """Inner products `(batch, spec)` of `(batch, spec, *shape)` with `(batch, *shape)`."""
    return torch.bmm(coefficients.flatten(2), values.flatten(1).unsqueeze(2)).squeeze(2)
