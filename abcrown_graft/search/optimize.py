"""Raising the bound: projected Adam on α and β, keeping the best variables seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from abcrown_graft.core.core import Core
from abcrown_graft.search.dual import Bound, Duals, dual_bound, primal_values


@dataclass(frozen=True)
class AdamSettings:
    """Names and defaults as α,β-CROWN's (`solver.alpha-crown`, `solver.beta-crown`)."""

    iterations: int = 20
    lr_alpha: float = 0.01
    lr_beta: float = 0.05
    lr_decay: float = 0.98


@dataclass(frozen=True, eq=False)
class Optimized:
    """The best bound of each subproblem and what gave it.

    Attributes:
        duals: the variables.
        bound: what the backward pass found with them.
        values, inputs: the primal point that the bound suggests, see `primal_values`.
    """

    duals: Duals
    bound: Bound
    values: Tensor
    inputs: Tensor

    @property
    def lower(self) -> Tensor:
        """The lower bounds, `(batch,)`."""
        return self.bound.lower

    @property
    def multipliers(self) -> Tensor:
        """What a certificate needs, `(neurons, batch)`."""
        return self.bound.multipliers


def optimize(
    core: Core, duals: Duals, settings: AdamSettings, target: float = 0.0, stop: Callable[[], bool] = lambda: False
) -> Optimized:
    """Improves α and β of all subproblems at once; ends early when every bound exceeds `target` or `stop` says so."""
    moments = _Adam(duals, settings)
    bound = dual_bound(core, duals)
    x, values = primal_values(core, bound)
    best = Optimized(duals, bound, values, x)
    for _ in range(settings.iterations):
        if bool((best.lower > target).all()) or stop():
            break
        duals = moments.step(duals, bound, values)
        bound = dual_bound(core, duals)
        x, values = primal_values(core, bound)
        best = _better(best, Optimized(duals, bound, values, x))
    return best


def _better(old: Optimized, new: Optimized) -> Optimized:
    """Column by column the one with the larger bound; the last pass's primal point is kept with its bound."""
    take = new.lower > old.lower

    def pick(first: Tensor, second: Tensor) -> Tensor:
        return torch.where(take, second, first)

    duals = replace(new.duals, alpha=pick(old.duals.alpha, new.duals.alpha), beta=pick(old.duals.beta, new.duals.beta))
    parts = {name: pick(getattr(old.bound, name), getattr(new.bound, name)) for name in vars(old.bound)}
    values, inputs = pick(old.values, new.values), pick(old.inputs, new.inputs)
    return Optimized(duals, Bound(**parts), values, inputs)


class _Adam:
    """Adam's moments for α and β of a batch (Kingma and Ba 2015), ascending, projected onto α in [0, 1], β >= 0."""

    def __init__(self, duals: Duals, settings: AdamSettings) -> None:
        self.settings, self.t = settings, 0
        self.first = [torch.zeros_like(duals.alpha), torch.zeros_like(duals.beta)]
        self.second = [torch.zeros_like(duals.alpha), torch.zeros_like(duals.beta)]

    def step(self, duals: Duals, bound: Bound, values: Tensor) -> Duals:
        """The variables after one ascent step."""
        free = duals.split == 0
        alpha_gradient = torch.where(free, bound.coefficients.clamp(min=0) * values, 0.0)
        beta_gradient = -duals.split * values
        decay = self.settings.lr_decay**self.t
        self.t += 1
        alpha = duals.alpha + self._move(0, alpha_gradient, self.settings.lr_alpha * decay)
        beta = duals.beta + self._move(1, beta_gradient, self.settings.lr_beta * decay)
        return replace(duals, alpha=alpha.clamp_(0, 1), beta=beta.clamp_(min=0) * (~free))

    def _move(self, which: int, gradient: Tensor, lr: float) -> Tensor:
        first = self.first[which].mul_(0.9).add_(gradient, alpha=0.1)
        second = self.second[which].mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        scale = (1 - 0.999**self.t) ** 0.5 / (1 - 0.9**self.t)
        return lr * scale * first / (second.sqrt() + 1e-8)
