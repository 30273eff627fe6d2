"""The β-CROWN bound of subproblems of one core, and its gradient, as matrix products.

A subproblem asks for one clause and fixes the sign of some unstable neurons (split +1: z >= 0, -1: z <= 0).
It bounds a mix of the clause's literals, with weights w >= 0: where that is positive, one of them is. For any
slopes α in [0, 1] and multipliers β >= 0 the following is a lower bound of the mix (Wang et al. 2021,
"Beta-CROWN", theorem 3.1), from the last layer down with coefficients A of y = relu(z):

    P = A D - β s        D = α or 1 or 0 where A >= 0, the chord's slope where A < 0
    A_lower += M^T P,  A_x += L^T P,  constants likewise;  at the input: A_x^+ lower + A_x^- upper

All subproblems share L and M, so every step is one matrix product with a column per subproblem.
The gradient is the primal point that the bound suggests: the minimiser x of the box, then
v = L x + M y + c and y = D v + t layer by layer; d bound / dα = A^+ v, d bound / dβ = -s v, and
d bound / dw is the literals' values at (x, y).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from abcrown_graft.core.core import Core, CoreView

Rows = Callable[[Tensor], Tensor]
"""From a tensor `(rows, batch)` to one of other rows."""


@dataclass(frozen=True, eq=False)
class Duals:
    """Variables of a batch of subproblems, one column each; rows are the core's neurons, layer after layer.

    Attributes:
        mix: weights of the literals, zero outside the subproblem's clause, `(literals, batch)`.
        split: -1, 0 or +1, `(neurons, batch)`.
        slack: α of every neuron that is free, β of every one that is split, `(neurons, batch)`.
    """

    mix: Tensor
    split: Tensor
    slack: Tensor

    def __len__(self) -> int:
        return self.mix.shape[1]

    def __getitem__(self, columns: Tensor | slice) -> Duals:
        return Duals(self.mix[:, columns], self.split[:, columns], self.slack[:, columns])

    def with_rows(self, neurons: Rows, literals: Rows) -> Duals:
        """The variables of other neurons and other literals."""
        return Duals(literals(self.mix), neurons(self.split), neurons(self.slack))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Duals:
        """The same variables elsewhere or in another precision."""
        mix, split, slack = (part.to(device=device, dtype=dtype) for part in (self.mix, self.split, self.slack))
        return Duals(mix, split, slack)

    @classmethod
    def cat(cls, parts: list[Duals]) -> Duals:
        """Several batches as one."""
        mix = torch.cat([part.mix for part in parts], dim=1)
        split = torch.cat([part.split for part in parts], dim=1)
        return cls(mix, split, torch.cat([part.slack for part in parts], dim=1))


@dataclass(frozen=True, eq=False)
class Bound:
    """What a backward pass finds, per subproblem.

    Attributes:
        lower: the lower bounds, `(batch,)`.
        coefficients: A of every neuron's y, `(neurons, batch)`.
        multipliers: P of every neuron's z, `(neurons, batch)`.
        slope, intercept: the line y = slope * z + intercept that each neuron took, `(neurons, batch)`.
        at_input: A_x, `(d, batch)`.
    """

    lower: Tensor
    coefficients: Tensor
    multipliers: Tensor
    slope: Tensor
    intercept: Tensor
    at_input: Tensor

    def with_rows(self, neurons: Rows) -> Bound:
        """What is found for other neurons."""
        return replace(
            self,
            coefficients=neurons(self.coefficients),
            multipliers=neurons(self.multipliers),
            slope=neurons(self.slope),
            intercept=neurons(self.intercept),
        )


@dataclass(frozen=True, eq=False)
class Optimized:
    """The best bound of each subproblem and what gave it.

    Attributes:
        duals: the variables.
        bound: what the backward pass found with them.
        values, inputs, literals: the primal point that the bound suggests, see `primal_values`.
    """

    duals: Duals
    bound: Bound
    values: Tensor
    inputs: Tensor
    literals: Tensor

    def __getitem__(self, columns: Tensor | slice) -> Optimized:
        bound = replace(self.bound, **{k: v[..., columns] for k, v in vars(self.bound).items()})
        values, inputs, literals = (part[:, columns] for part in (self.values, self.inputs, self.literals))
        return Optimized(self.duals[columns], bound, values, inputs, literals)

    def __len__(self) -> int:
        return len(self.duals)

    def with_rows(self, neurons: Rows, literals: Rows) -> Optimized:
        """What is known of other neurons and other literals."""
        return Optimized(
            self.duals.with_rows(neurons, literals),
            self.bound.with_rows(neurons),
            neurons(self.values),
            self.inputs,
            literals(self.literals),
        )

    @classmethod
    def cat(cls, parts: list[Optimized]) -> Optimized:
        """Several batches as one."""
        if len(parts) == 1:
            return parts[0]
        bound = {k: torch.cat([getattr(part.bound, k) for part in parts], dim=-1) for k in vars(parts[0].bound)}
        return cls(
            Duals.cat([part.duals for part in parts]),
            Bound(**bound),
            torch.cat([part.values for part in parts], dim=1),
            torch.cat([part.inputs for part in parts], dim=1),
            torch.cat([part.literals for part in parts], dim=1),
        )

    @property
    def lower(self) -> Tensor:
        """The lower bounds, `(batch,)`."""
        return self.bound.lower

    @property
    def multipliers(self) -> Tensor:
        """What a certificate needs, `(neurons, batch)`."""
        return self.bound.multipliers


def mix_of(core: Core, literal: Tensor) -> Tensor:
    """The weights `(literals, batch)` that take one literal each, `literal` `(batch,)`."""
    numbers = torch.arange(len(core.clause), device=literal.device)
    return (numbers.unsqueeze(1) == literal).to(core.lower.dtype)


def root_duals(core: Core, mix: Tensor) -> Duals:
    """Subproblems without splits, one for each column of `mix`, with CROWN's adaptive slopes."""
    wider = [(layer.upper > -layer.lower).to(mix.dtype) for layer in core.layers]
    alpha = torch.cat([core.lower[:0], *wider]).unsqueeze(1).repeat(1, mix.shape[1])
    return Duals(mix, torch.zeros_like(alpha), alpha)


def slices(core: CoreView) -> list[slice]:
    """The rows of each layer in a tensor over all neurons."""
    ends = accumulate([0, *core.sizes])
    return [slice(first, last) for first, last in pairwise(ends)]


def per_column(values: Tensor) -> Tensor:
    """Values of a core `(n,)`, or of the cores that the columns belong to `(n, batch)`, to go with `(n, batch)`."""
    return values.unsqueeze(1) if values.dim() == 1 else values


def dot(values: Tensor, columns: Tensor) -> Tensor:
    """The sums `(batch,)` of values, `(n,)` or `(n, batch)`, times columns `(n, batch)`."""
    return values @ columns if values.dim() == 1 else (values * columns).sum(0)


def dual_bound(core: CoreView, duals: Duals) -> Bound:
    """Lower bounds of the subproblems' mixes; valid for any weights >= 0, α in [0, 1] and β >= 0."""
    rows = slices(core)
    pending = [weights.transpose_times(duals.mix) for weights in core.out_layers]
    at_input = core.out_input.transpose_times(duals.mix)
    lower = dot(core.out_constant, duals.mix)
    free = duals.split == 0
    below = torch.where(free, duals.slack, duals.split.clamp(min=0))
    penalty = duals.slack * duals.split
    found: list[tuple[Tensor, ...]] = []
    for k in range(len(core.layers) - 1, -1, -1):
        layer, at = core.layers[k], rows[k]
        slope, intercept = _lines(pending[k], layer.lower, layer.upper, free[at], below[at])
        multipliers = pending[k] * slope - penalty[at]
        found.append((pending[k], multipliers, slope, intercept))
        lower += (pending[k] * intercept).sum(0) + dot(layer.constant, multipliers)
        for j, block in layer.from_layers.items():
            pending[j] += block.transpose_times(multipliers)
        at_input += layer.from_input.transpose_times(multipliers)
    centre, radius = (core.lower + core.upper) / 2, (core.upper - core.lower) / 2
    lower += dot(centre, at_input) - dot(radius, at_input.abs())
    none = at_input.new_zeros(0, len(duals))
    coefficients, multipliers, slope, intercept = map(torch.cat, zip((none,) * 4, *reversed(found), strict=True))
    return Bound(lower, coefficients, multipliers, slope, intercept, at_input)


def _lines(a: Tensor, lower: Tensor, upper: Tensor, free: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and intercept of the line under (a >= 0, or the neuron is split) or over (a < 0) each neuron."""
    chord = per_column(upper / (upper - lower))
    above = free & (a < 0)
    return torch.where(above, chord, below), above * (-chord * per_column(lower))


def primal_values(core: CoreView, bound: Bound) -> tuple[Tensor, Tensor, Tensor]:
    """The point that the bound suggests: x `(d, batch)`, v `(neurons, batch)`, and literals `(literals, batch)`.

    x is a corner of the box up to rounding, or between corners where the bound does not care.
    """
    centre, radius = (core.lower + core.upper) / 2, (core.upper - core.lower) / 2
    x = torch.addcmul(per_column(centre), bound.at_input.sign(), per_column(radius), value=-1)
    outputs: list[Tensor] = []
    values: list[Tensor] = []
    for k, rows in enumerate(slices(core)):
        layer = core.layers[k]
        v = layer.from_input @ x + per_column(layer.constant)
        for j, block in layer.from_layers.items():
            v = v + block @ outputs[j]
        values.append(v)
        outputs.append(bound.slope[rows] * v + bound.intercept[rows])
    literals = core.out_input @ x + per_column(core.out_constant)
    for weights, y in zip(core.out_layers, outputs, strict=True):
        literals = literals + weights @ y
    return x, torch.cat([x[:0], *values]), literals
