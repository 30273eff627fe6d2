"""Raising the bound: projected Adam on α, β and the literals' weights, keeping the best variables seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from abcrown_graft.core.core import CoreView
from abcrown_graft.core.dual import Duals, Optimized, dual_bound, primal_values

CHECK_EVERY = {"cpu": 1, "cuda": 5}  # steps between looks at the bounds, which a GPU has to wait for
KEEP_WHILE = 0.8  # subproblems that are done take part until they are more than a fifth


@dataclass(frozen=True)
class AdamSettings:
    """Names and defaults as α,β-CROWN's (`solver.alpha-crown`, `solver.beta-crown`)."""

    iterations: int = 20
    lr_alpha: float = 0.01
    lr_beta: float = 0.05
    lr_decay: float = 0.98


def optimize(
    core: CoreView, duals: Duals, settings: AdamSettings, target: float = 0.0, stop: Callable[[], bool] = lambda: False
) -> Optimized:
    """Improves the bounds of subproblems, all at once.

    Args:
        core: of the subproblems.
        duals: where the optimisation starts.
        settings: steps and their lengths.
        target: a subproblem whose bound exceeds it is left alone.
        stop: asked before a step; True ends the work with the best that was found so far.
    """
    adam, best = _Adam(core, duals, settings), _Best(core, duals)
    found, going = best.first, torch.arange(len(duals), device=duals.slack.device)
    for step in range(settings.iterations):
        if step % CHECK_EVERY[going.device.type] == 0:
            improvable = ~(best.lower[going] > target)
            count = int(improvable.sum())
            if not count or stop():
                break
            if count <= KEEP_WHILE * len(going):
                found, going = found[improvable], going[improvable]
                core = core.select(improvable)
                adam.keep(improvable)
        found = _evaluated(core, adam.step(found))
        best.update(going, found)
    return best.evaluated()


def _evaluated(core: CoreView, duals: Duals) -> Optimized:
    bound = dual_bound(core, duals)
    inputs, values, literals = primal_values(core, bound)
    return Optimized(duals, bound, values, inputs, literals)


class _Best:
    """The best bound of each subproblem so far and its variables; all else is computed again in the end."""

    def __init__(self, core: CoreView, duals: Duals) -> None:
        self.core, self.first = core, _evaluated(core, duals)
        self.lower, self.duals, self.stale = self.first.lower.clone(), duals, False

    def update(self, columns: Tensor, found: Optimized) -> None:
        """Takes in what was found for some of the subproblems."""
        old = self.lower[columns]
        better = found.lower > old
        self.lower[columns] = torch.where(better, found.lower, old)

        def updated(kept: Tensor, new: Tensor) -> Tensor:
            if len(columns) == len(self.lower):
                return torch.where(better, new, kept)
            return kept.index_copy(1, columns, torch.where(better, new, kept[:, columns]))

        mix, slack = updated(self.duals.mix, found.duals.mix), updated(self.duals.slack, found.duals.slack)
        self.duals, self.stale = replace(self.duals, mix=mix, slack=slack), True

    def evaluated(self) -> Optimized:
        """The best of each subproblem."""
        return _evaluated(self.core, self.duals) if self.stale else self.first


class _Adam:
    """Adam (Kingma and Ba 2015), ascending, projected onto α in [0, 1], β >= 0 and weights that add up to 1."""

    def __init__(self, core: CoreView, duals: Duals, settings: AdamSettings) -> None:
        self.settings, self.t = settings, 0
        self.free, self.split = duals.split == 0, duals.split
        self.rate = torch.where(self.free, settings.lr_alpha, settings.lr_beta).to(duals.slack)
        self.most = torch.where(self.free, 1.0, torch.inf).to(duals.slack)
        self.slack = _Moments(duals.slack)
        self.member = core.beside(duals.mix)
        if self.member is not None:
            self.mix, self.mix_rate = _Moments(duals.mix), duals.mix.new_tensor(settings.lr_alpha)

    def keep(self, columns: Tensor) -> None:
        """Goes on with some of the subproblems."""
        self.slack.keep(columns)
        self.free, self.split = self.free[:, columns], self.split[:, columns]
        self.rate, self.most = self.rate[:, columns], self.most[:, columns]
        if self.member is not None:
            self.member = self.member[:, columns]
            self.mix.keep(columns)

    def step(self, found: Optimized) -> Duals:
        """The variables after one ascent step."""
        duals, decay = found.duals, self.settings.lr_decay**self.t
        self.t += 1
        gradient = torch.where(self.free, found.bound.coefficients.clamp(min=0), -self.split).mul_(found.values)
        slack = self.slack.moved(duals.slack, gradient, self.rate, self.t, decay)
        slack = torch.minimum(slack.clamp_(min=0), self.most)
        if self.member is None:
            return replace(duals, slack=slack)
        weights = self.mix.moved(duals.mix, found.literals * self.member, self.mix_rate, self.t, decay)
        weights = weights.clamp_(min=0).mul_(self.member)
        total = weights.sum(0)
        return replace(duals, slack=slack, mix=torch.where(total > 0, weights / total, duals.mix))


class _Moments:
    """Running means of one variable's gradient and of its square."""

    def __init__(self, like: Tensor) -> None:
        self.first, self.second = torch.zeros_like(like), torch.zeros_like(like)

    def keep(self, columns: Tensor) -> None:
        """Goes on with some of the columns."""
        self.first, self.second = self.first[:, columns], self.second[:, columns]

    def moved(self, variable: Tensor, gradient: Tensor, rate: Tensor, t: int, decay: float) -> Tensor:
        """The variable after Adam's step with the `t`-th gradient."""
        self.first.lerp_(gradient, 0.1)
        self.second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        scale = decay * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t)
        direction = self.first / self.second.sqrt().add_(1e-8)
        return torch.addcmul(variable, direction, rate, value=scale)
