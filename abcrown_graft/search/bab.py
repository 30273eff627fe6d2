"""Branch and bound: splits unstable neurons until every subproblem of every clause is certified."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from abcrown_graft.core.certificate import certified_bound
from abcrown_graft.core.core import Core
from abcrown_graft.core.dual import Duals, Optimized, root_duals
from abcrown_graft.search.branching import BranchingSettings
from abcrown_graft.search.budget import Budget
from abcrown_graft.search.frontier import Frontier, carried_over
from abcrown_graft.search.leaf import decide_leaf
from abcrown_graft.search.optimize import AdamSettings
from abcrown_graft.search.task import BoundTask, SplitTask, Steps, alone, bounded
from abcrown_graft.search.tighten import tighten
from abcrown_graft.verdict import Verdict

TIGHTEN_AFTER = 500  # subproblems: an instance that needs more is worth optimising the neurons' own bounds
TIGHTEN_SHARE = 10  # which takes this fraction of α-CROWN's steps, on many more bounds
CHECKED_POINTS = 8  # of a batch that is open, the worst points are tried as counterexamples


@dataclass(frozen=True)
class SearchSettings:
    """The effort of a search.

    Attributes:
        batch_size: subproblems bounded at once.
        timeout: seconds for the instance.
        max_domains: subproblems visited before giving up as `unknown`.
        alpha: effort at the root.
        beta: effort at every subproblem.
        branching: the branching rule.
        double: search in float64 instead of float32; certificates are always checked in float64.
    """

    batch_size: int = 512
    timeout: float = 360.0
    max_domains: float = float("inf")
    alpha: AdamSettings = AdamSettings(100, 0.1, 0.05)
    beta: AdamSettings = AdamSettings(20, 0.01, 0.05)
    branching: BranchingSettings = BranchingSettings()
    double: bool = False


@dataclass(eq=False)
class SearchResult:
    """The outcome of a search.

    Attributes:
        verdict: what was found.
        visited: subproblems bounded after the root; 0 if the root was enough.
        lower_bound: 0 if every clause is certified, otherwise the smallest bound among the
            open subproblems, up to the rounding of the search's precision; never positive.
        counterexample: what `judge_points` returned.
        core: over the bounds known in the end.
    """

    verdict: Verdict
    visited: int = 0
    lower_bound: float = 0.0
    counterexample: Tensor | None = None
    core: Core | None = None


JudgePoints = Callable[[Tensor], "Tensor | None"]
"""Given inputs `(k, d)`, one that is a counterexample, or None."""


def search(core: Core, settings: SearchSettings, judge_points: JudgePoints | None = None) -> SearchResult:
    """Decides the instance that a core describes.

    Args:
        core: in float64, from rigorous bounds; the search runs on its copy in search precision.
        settings: effort.
        judge_points: told points that may be counterexamples; None skips that.
    """
    return alone(search_steps(core, settings, judge_points, Budget(settings.timeout)))


def search_steps(
    core: Core, settings: SearchSettings, judge_points: JudgePoints | None, budget: Budget
) -> Steps[SearchResult]:
    """`search` as steps that may be shared with other searches.

    Args:
        core, settings, judge_points: as for `search`; `settings.timeout` is not read.
        budget: what may be spent.
    """
    return (yield from _Search(core, settings, judge_points, budget).steps())


class _Search:
    def __init__(self, core: Core, settings: SearchSettings, judge_points: JudgePoints | None, budget: Budget) -> None:
        self.settings, self.judge_points, self.budget = settings, judge_points, budget
        self.dtype = torch.float64 if settings.double else torch.float32
        self.exact, self.fast = core, core.to(dtype=self.dtype)
        self.open = Frontier()
        self.visited = 0
        self.tight = settings.alpha.iterations == 0
        self.stuck = False
        self.counterexample: Tensor | None = None

    def steps(self) -> Steps[SearchResult]:
        self._keep_open((yield from self._bounded(self._root(), self.settings.alpha)))
        while self.open and self.counterexample is None:
            if self._late():
                return self._result(Verdict.TIMEOUT)
            if not self.tight and self.visited >= min(TIGHTEN_AFTER, self.settings.max_domains):
                yield from self._tighten()
            elif self.visited >= self.settings.max_domains:
                return self._result(Verdict.UNKNOWN)
            elif not (yield from self._split(self.open.take(self._room()))):
                return self._result(Verdict.UNKNOWN)
        return self._result(Verdict.VERIFIED if self.counterexample is None else Verdict.FALSIFIED)

    def _room(self) -> int:
        """How many subproblems to split at once; a batch is shared with the searches beside this one."""
        return max(1, self.settings.batch_size // (2 * self.budget.sharing))

    def _split(self, taken: Optimized) -> Steps[bool]:
        """Bounds the halves of subproblems; False if one that cannot be split cannot be decided either."""
        parents = self._without_leaves(taken)
        if self.stuck:
            self.open.push(taken)
            return False
        if len(parents.lower) and self.counterexample is None:
            task = SplitTask(self.fast, parents, self.settings.branching, self.settings.beta, self.budget)
            children = yield from bounded(task)
            self.visited += len(children.lower)
            self._keep_open(_at_least(children, parents.lower.repeat_interleave(2)))
        return True

    def _tighten(self) -> Steps[None]:
        """Tightens the core's bounds, once, and bounds what is open again on the smaller core."""
        self.tight = True
        effort = replace(self.settings.alpha, iterations=math.ceil(self.settings.alpha.iterations / TIGHTEN_SHARE))
        room = 2 * self._room()
        new = yield from tighten(self.exact, effort, room, self.dtype, self.budget)
        old, self.exact, self.fast = self.exact, new, new.to(dtype=self.dtype)
        frontier, self.open = self.open, Frontier()
        settings = self.settings.beta if self.visited else self.settings.alpha
        while frontier and self.counterexample is None:
            before = frontier.take(room)
            duals = carried_over(before.duals, old, new)
            self._keep_open(_at_least((yield from self._bounded(duals, settings)), before.lower))

    def _bounded(self, start: Duals, effort: AdamSettings) -> Steps[Optimized]:
        return bounded(BoundTask(self.fast, start, effort, self.budget))

    def _late(self) -> bool:
        return self.budget.late()

    def _result(self, verdict: Verdict) -> SearchResult:
        return SearchResult(verdict, self.visited, min(0.0, self.open.lowest), self.counterexample, self.exact)

    def _root(self) -> Duals:
        """One subproblem per clause, with equal weights and CROWN's adaptive slopes."""
        member = (self.fast.clause.unsqueeze(1) == self.fast.clause.unique()).to(self.fast.lower.dtype)
        return root_duals(self.fast, member / member.sum(0))

    def _keep_open(self, found: Optimized) -> None:
        """Drops what is certified and keeps the rest, whose worst points may hold a counterexample."""
        promising = (found.lower > 0).nonzero().flatten()
        proved = torch.zeros(len(found.lower), dtype=torch.bool, device=found.lower.device)
        if len(promising):
            duals = found.duals[promising]
            bound = certified_bound(self.exact, duals.mix, duals.split, found.multipliers[:, promising])
            proved[promising] = bound > 0
        rest = (~proved).nonzero().flatten()
        if not len(rest):
            return
        self.open.push(found[rest])
        if self.judge_points is not None:
            worst = found.lower[rest].topk(min(CHECKED_POINTS, len(rest)), largest=False).indices
            self.counterexample = self.judge_points(found.inputs[:, rest[worst]].T)

    def _without_leaves(self, parents: Optimized) -> Optimized:
        """Decides the subproblems in which no neuron is free, by linear programs; returns the others.

        The first that cannot be certified ends the search: with a counterexample, or `stuck`.
        """
        is_leaf = ~(parents.duals.split == 0).any(0)
        leaves = is_leaf.nonzero().flatten()
        for number, column in enumerate(leaves.tolist()):
            if self._late():
                self.open.push(parents[leaves[number:]])
                break
            proved, point = decide_leaf(self.exact, parents.duals[column : column + 1])
            if proved:
                continue
            self.counterexample = None if self.judge_points is None else self.judge_points(point.unsqueeze(0))
            self.stuck = self.counterexample is None
            break
        return parents[(~is_leaf).nonzero().flatten()]


def _at_least(found: Optimized, lower: Tensor) -> Optimized:
    """What bounds a parent bounds its children too."""
    return replace(found, bound=replace(found.bound, lower=torch.maximum(found.lower, lower)))
