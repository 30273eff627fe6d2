"""Checks a lower bound in float64 with a rigorous error bound, from its multipliers alone.

For any numbers P (one per neuron) and every point of the box, with z = L x + M y + c,

    w out = w c_o + P c + (w L_o + P L) x + sum_j (A_j y_j - P_j z_j),      A_j = w M_oj + sum_k P_k M_kj

so it is at least the constant, plus the minimum of the linear term over the box, plus for
every neuron the minimum of A y - P z over the points (z, y) that it can take: the triangle with
corners (l, 0), (0, 0), (u, u), or one of its two lower edges if it is split. The multipliers may come
from anywhere, float32 included: a bad one costs tightness, never soundness. If w >= 0 mixes literals of one
clause, a positive bound says that one of them is positive everywhere in the subproblem. If w = 0, it says
that 0 > 0 there: the subproblem is empty.

The sums are evaluated in float64; each is off by at most `gamma_N sum |terms|` (see `bounds/rounding`),
and each row of the core by its own error, weighted with |P|.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from abcrown_graft.core.block import Block
from abcrown_graft.core.core import Core
from abcrown_graft.core.dual import slices

SPARE = 16


@dataclass(frozen=True, eq=False)
class _Sum:
    """A sum as evaluated, and the sum of the absolute values of its terms."""

    value: Tensor
    size: Tensor

    @classmethod
    def of(cls, term: Tensor) -> _Sum:
        return cls(term, term.abs())

    def __add__(self, other: _Sum) -> _Sum:
        return _Sum(self.value + other.value, self.size + other.size)


def certified_bound(core: Core, mix: Tensor, split: Tensor, multipliers: Tensor) -> Tensor:
    """Lower bounds `(batch,)` of the subproblems' mixes in real arithmetic.

    -infinity where a bound is not finite, or a mix is not one: a weight is negative, or two clauses have some.

    Args:
        core: in float64, from rigorous bounds.
        mix, split, multipliers: of the subproblems, `(literals, batch)`, `(neurons, batch)`, `(neurons, batch)`.
    """
    w, p, rows = mix.double(), multipliers.double(), slices(core)
    gamma = _gamma(sum(core.sizes) + len(core.lower) + len(core.clause) + SPARE)
    total, at_input, a = _combined(core, w, p)
    for k, layer in enumerate(core.layers):
        total += _neuron_minimum(a[k], gamma, p[rows[k]], split[rows[k]], layer.lower, layer.upper)
    total += _box_minimum(at_input, gamma, core.lower, core.upper)
    errors = [layer.error @ p[rows[k]].abs() for k, layer in enumerate(core.layers)]
    error = sum(errors, core.out_error @ w) * (1 + gamma)
    found = total.value - error - 2 * gamma * total.size
    return torch.where(torch.isfinite(found) & _is_mix(core, w), found, -torch.inf)


def _is_mix(core: Core, mix: Tensor) -> Tensor:
    """Whether each column mixes literals of at most one clause with weights >= 0, `(batch,)`."""
    used = mix != 0
    clause = core.clause.unsqueeze(1).expand_as(used)
    first = torch.where(used, clause, clause.amax(0)).amin(0)
    return (mix >= 0).all(0) & (~used | (clause == first)).all(0)


def _combined(core: Core, w: Tensor, p: Tensor) -> tuple[_Sum, _Sum, list[_Sum]]:
    """`w c_o + P c` `(batch,)`, `w L_o + P L` `(d, batch)` and A of every layer `(n, batch)`."""

    constant = _Sum(core.out_constant @ w, core.out_constant.abs() @ w)
    at_input = _pulled_back(core.out_input, w)
    a = [_pulled_back(weights, w) for weights in core.out_layers]
    for layer, rows in zip(core.layers, slices(core), strict=True):
        own = p[rows]
        constant += _Sum(layer.constant @ own, layer.constant.abs() @ own.abs())
        at_input += _pulled_back(layer.from_input, own)
        for j, block in layer.from_layers.items():
            a[j] += _pulled_back(block, own)
    return constant, at_input, a


def _pulled_back(block: Block, p: Tensor) -> _Sum:
    return _Sum(block.transpose_times(p), block.magnitude.transpose_times(p.abs()))


def _gamma(terms: int) -> float:
    relative = 2 * terms * torch.finfo(torch.float64).eps / 2
    return relative / (1 - relative)


def _neuron_minimum(a: _Sum, gamma: float, p: Tensor, split: Tensor, lower: Tensor, upper: Tensor) -> _Sum:
    """Minimum of `A y - P z` over what each neuron can take, added up over the layer, for the smallest possible A."""
    low, high = lower.unsqueeze(1), upper.unsqueeze(1)
    slack = gamma * a.size
    inactive, active = -p * low, (a.value - slack - p) * high
    corner = torch.where(split > 0, active, torch.where(split < 0, inactive, torch.minimum(inactive, active)))
    size = p.abs() * -low + (a.value.abs() + slack + p.abs()) * high
    return _Sum(corner.clamp(max=0).sum(0), size.sum(0))


def _box_minimum(at_input: _Sum, gamma: float, lower: Tensor, upper: Tensor) -> _Sum:
    """Minimum of the linear term over the box, for the worst possible coefficients."""
    slack = gamma * at_input.size
    reach = torch.maximum(lower.abs(), upper.abs())
    least = lower @ at_input.value.clamp(min=0) + upper @ at_input.value.clamp(max=0) - reach @ slack
    return _Sum(least, reach @ (at_input.size + slack))
