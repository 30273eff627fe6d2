"""Rigorous bounds on the rounding error of interval arithmetic and of CROWN's backward pass.

A backward pass evaluates sums of products. Whatever the order of summation, a sum in which each
term undergoes at most N roundings of unit roundoff u is off by at most `gamma_N * sum |terms|`,
`gamma_N = N u / (1 - N u)` (Higham 2002, "Accuracy and Stability of Numerical Algorithms", lemma
3.1 and section 3.5). The terms of a backward pass from a neuron are the products along all paths to
the input or to a constant, so the sum of their absolute values is what comes out when magnitudes are
propagated forward through the absolute values of weights, slopes and constants. That forward pass
is cheap, holds for every row at once, and is done here.

N counts, for every operator on a path, the longest inner product that the forward or the backward
direction forms, with a few to spare for slopes and intercepts; and for the whole pass one more for
each operator and each of its inputs, where coefficients and constants accumulate. The result is
doubled to cover the second-order terms and the magnitudes' own rounding. This holds for convolution
algorithms that form plain inner products, as float64 ones and products with sparse matrices do; not for
Winograd or FFT ones. A pass that ends at an activation, on the box of its output, has fewer operators on
its paths, and the box lies within the magnitude that the paths beyond it add up to.

A product that underflows is off by at most the smallest normal number. What later factors of a path make
of that is propagated forward like the magnitudes; going backward, it is a coefficient that is off, times
the magnitude of what it multiplies.
"""

from __future__ import annotations

import torch
from torch import Tensor

from abcrown_graft.geometry.box import Box
from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network, Node
from abcrown_graft.network.relaxation import Relaxation

SPARE = 16


class Magnitudes:
    """Sums of absolute terms and counts of roundings per node, grown along the forward traversal."""

    def __init__(self, network: Network, box: Box) -> None:
        size = torch.Size(network.input.shape).numel()
        self.unit = torch.finfo(box.lower.dtype).eps / 2
        self.total = {network.input.name: torch.maximum(box.lower.abs(), box.upper.abs())}
        self.roundings = {network.input.name: size + SPARE}
        self.local = {network.input.name: torch.zeros_like(box.lower)}
        self.accumulations = 0
        self.tiny = torch.finfo(box.lower.dtype).tiny
        self.lost = {network.input.name: torch.zeros_like(box.lower)}
        self.lost_backward = box.lower.new_zeros(len(box.lower))
        self.shapes = {node.name: node.shape for node in network.nodes}
        self.range = dict(self.total)

    def add(self, node: Node, lines: Relaxation | None) -> None:
        """Takes in the next node; `lines` is its relaxation if it is an activation."""
        if lines is None:
            self.total[node.name] = node.operator.magnitude(*(self.total[name] for name in node.inputs))
        else:
            slope = torch.maximum(lines.lower_slope.abs(), lines.upper_slope.abs())
            intercept = torch.maximum(lines.lower_intercept.abs(), lines.upper_intercept.abs())
            self.total[node.name] = slope * self.total[node.inputs[0]] + intercept
        self.accumulations += 1 + len(node.inputs)
        own = node.operator.longest_sum(tuple(self.shapes[name] for name in node.inputs), node.shape) + SPARE
        self._add_underflow(node, lines, own)
        self.roundings[node.name] = max(self.roundings[name] for name in node.inputs) + own
        terms = node.operator.magnitude(*(self.range[name] for name in node.inputs))
        self.local[node.name] = self._gamma(own) * terms + own * self.tiny

    def _add_underflow(self, node: Node, lines: Relaxation | None, own: int) -> None:
        """Lets each product be off by `tiny`, and later (going backward: earlier) factors magnify that."""
        before = [self.lost[name] for name in node.inputs]
        if isinstance(node.operator, op.AffineOperator):
            magnified = node.operator.linear().magnitude(*before)
        else:
            assert lines is not None
            magnified = torch.maximum(lines.lower_slope.abs(), lines.upper_slope.abs()) * before[0]
        self.lost[node.name] = magnified + own * self.tiny
        sources = sum(self.total[name].flatten(1).sum(1) for name in node.inputs)
        self.lost_backward = self.lost_backward + own * self.tiny * (1 + sources)

    def widen(self, name: str, box: Box) -> Box:
        """The node's interval with the rounding error of its own interval rule added on both sides."""
        wide = Box(box.lower - self.local[name], box.upper + self.local[name])
        self.range[name] = torch.maximum(wide.lower.abs(), wide.upper.abs())
        return wide

    def error(self, name: str) -> Tensor:
        """How far a backward pass from each neuron of the node can be off, `(batch, *shape)`."""
        roundings = self.roundings[name] + self.accumulations
        backward = self.lost_backward.view(-1, *(1,) * (self.total[name].dim() - 1))
        return self._gamma(roundings) * self.total[name] + self.lost[name] + backward

    def _gamma(self, roundings: int) -> float:
        relative = 2 * roundings * self.unit
        return relative / (1 - relative) if relative < 1 else float("inf")
