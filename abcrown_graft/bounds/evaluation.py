"""How far a network's value at a point can be off when it is computed in floating point.

Every rounding multiplies an intermediate result by `1 + d`, `|d| <= u`, the unit roundoff. To first order in u the
output is off by the sum of all roundings, each times the derivative of the output by what is rounded. A sum of n terms
has at most n roundings of products and n of partial sums, none of which exceeds the sum S of the absolute terms:

* in the worst case they add up to `n u S` (Higham 2002, "Accuracy and Stability of Numerical Algorithms", section 3.1);
* as independent of each other with mean zero, they exceed `λ u` times the root of the sum of their squares with a
  probability of at most `2 exp(-λ²/2)` (Higham and Mary 2019, "A new approach to probabilistic rounding error
  analysis", theorem 2.4).

The smaller of the two is taken. The derivatives are those at the point: going forward through absolute values instead
loses what cancels between paths, which makes the bound useless after a few layers. Kinks nearer than the rounding make
terms of second order, and so do products of roundings; measured differences stay far below the bound.
"""

from __future__ import annotations

import torch
from torch import Tensor

from abcrown_graft.network.graph import Network

CERTAINTY = 8.0
"""λ: the probability that an output is off by more is 3e-14."""


@torch.enable_grad()
def value_and_rounding(network: Network, points: Tensor) -> tuple[Tensor, Tensor]:
    """The network's outputs, and how many units of roundoff each may be off when it is computed as the network says.

    Args:
        network: in float64, with an operator for every step of the computation, see `trace.as_executed`.
        points: `(n, *input shape)`.

    Returns:
        Outputs and units, `(n, *output shape)`. Times the unit roundoff of a precision (half its `eps`), the second
        bounds the rounding of an evaluation in that precision.
    """
    values, terms = _values(network, points.to(network.device, torch.float64))
    output = values[network.output.name]
    rounded = [name for name in terms if values[name].requires_grad]
    units = torch.zeros_like(output).flatten(1)
    for k in range(units.shape[1] if rounded else 0):
        ask = [values[name] for name in rounded]
        slopes = torch.autograd.grad(output.flatten(1)[:, k].sum(), ask, retain_graph=True, allow_unused=True)
        found = [(slope.abs(), *terms[name]) for slope, name in zip(slopes, rounded, strict=True) if slope is not None]
        units[:, k] = _accumulated(found)
    return output.detach(), units.detach().view_as(output)


def unexplained(found: Tensor, expected: Tensor, allowed: Tensor) -> tuple[float, float] | None:
    """The largest difference of two evaluations that is not allowed, and what is allowed there; None if all are.

    NaN is not allowed.

    Args:
        found, expected, allowed: of one shape.
    """
    difference = (found - expected).abs()
    wrong = ~(difference <= allowed)
    if not bool(wrong.any()):
        return None
    worst = int(torch.where(wrong, difference.nan_to_num(torch.inf), -1).argmax())
    return float(difference.flatten()[worst]), float(allowed.flatten()[worst])


def _accumulated(found: list[tuple[Tensor, int, Tensor]]) -> Tensor:
    """What all roundings make of one output: slopes, roundings in each sum, and sums of absolute terms."""
    worst = sum((slope * sums * n).flatten(1).sum(1) for slope, n, sums in found)
    squares = sum((slope * sums).square().flatten(1).sum(1) * 2 * n for slope, n, sums in found)
    return torch.minimum(torch.as_tensor(worst), CERTAINTY * torch.as_tensor(squares).sqrt())


def _values(network: Network, points: Tensor) -> tuple[dict[str, Tensor], dict[str, tuple[int, Tensor]]]:
    """The values of the nodes, differentiable by each other; of those that round, how often, and sums of terms."""
    values: dict[str, Tensor] = {}
    terms: dict[str, tuple[int, Tensor]] = {}
    values[network.input.name] = points.detach().clone().requires_grad_()
    for node in network.nodes[1:]:
        sources = [values[name] for name in node.inputs]
        values[node.name] = node.operator.value(*sources)
        if node.operator.roundings:
            sums = node.operator.magnitude(*(source.detach().abs() for source in sources))
            terms[node.name] = node.operator.roundings, sums
    return values, terms
