"""Which neuron to split next: rules, with α,β-CROWN's names and options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from abcrown_graft.core.core import CoreView
from abcrown_graft.core.dual import Optimized, dual_bound

REDUCE: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "min": torch.minimum,
    "max": torch.maximum,
    "mean": lambda a, b: (a + b) / 2,
}
"""What a split is worth, from the bounds of its halves."""


@dataclass(frozen=True)
class BranchingSettings:
    """Names and defaults are α,β-CROWN's (`bab.branching`)."""

    method: str = "kfsb"
    candidates: int = 3
    reduceop: str = "min"
    seed: int = 100


Rule = Callable[[CoreView, Optimized, BranchingSettings], Tensor]
"""From a core, subproblems of it with a free neuron each, and settings to the neuron to split of each, `(batch,)`."""


def gap_scores(found: Optimized) -> Tensor:
    """How much of the bound each neuron's relaxation gives away at the bound's primal point, `(neurons, batch)`.

    The relaxed output y = D v + t differs from relu(v); |A (relu(v) - y)| is what the objective would
    change by if it did not. Split neurons score -1.
    """
    relaxed = found.bound.slope * found.values + found.bound.intercept
    score = (found.bound.coefficients * (found.values.clamp(min=0) - relaxed)).abs()
    return torch.where(found.duals.split == 0, score, -1.0)


def intercept_scores(found: Optimized) -> Tensor:
    """|A t| where the upper line is in use: the area that a split removes (BaBSR's intercept term); split ones -1."""
    score = (found.bound.coefficients * found.bound.intercept).abs()
    return torch.where(found.duals.split == 0, score, -1.0)


def babsr(core: CoreView, found: Optimized, settings: BranchingSettings) -> Tensor:
    """The neuron of the largest estimated improvement, ties broken by the intercept term.

    Args:
        core, found, settings: see `Rule`.
    """
    return (gap_scores(found) + 1e-3 * intercept_scores(found)).argmax(0)


def random(core: CoreView, found: Optimized, settings: BranchingSettings) -> Tensor:
    """A free neuron at random.

    Args:
        core, found, settings: see `Rule`.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    chance = torch.rand(found.duals.split.shape, generator=generator).to(found.lower.device)
    return torch.where(found.duals.split == 0, chance, -1.0).argmax(0)


def kfsb(core: CoreView, found: Optimized, settings: BranchingSettings) -> Tensor:
    """Filtered smart branching: the best `candidates` of two scores are tried, the best pair of children wins.

    De Palma et al. 2021, "Improved branch and bound for neural network verification via Lagrangian
    decomposition", section 5; the children are bounded once, without optimisation.

    Args:
        core, found, settings: see `Rule`.
    """
    gap, intercept = gap_scores(found), intercept_scores(found)
    k = min(settings.candidates, len(gap))
    tried = torch.cat([gap.topk(k, dim=0).indices, intercept.topk(k, dim=0).indices])
    values = _child_values(core, found, tried, REDUCE[settings.reduceop])
    free = found.duals.split.gather(0, tried) == 0
    best = torch.where(free, values.nan_to_num(), -torch.inf).argmax(0)
    return tried.gather(0, best.unsqueeze(0)).squeeze(0)


def _child_values(
    core: CoreView, found: Optimized, tried: Tensor, reduce: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """What the two children's bounds reduce to for every candidate, `(candidates, batch)`."""
    rows, batch = tried.shape
    where = torch.arange(batch * rows * 2, device=tried.device)
    columns, neurons = where // (2 * rows), tried.T.flatten().repeat_interleave(2)
    duals = found.duals[columns]
    duals.split[neurons, where] = torch.where(where % 2 == 0, 1.0, -1.0).to(duals.split)
    duals.slack[neurons, where] = 0
    lower = dual_bound(core.select(columns), duals).lower.view(batch, rows, 2)
    return reduce(lower[..., 0], lower[..., 1]).T
