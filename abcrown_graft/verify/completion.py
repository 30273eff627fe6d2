"""What decides a core: functions with the names of α,β-CROWN's `general.complete_verifier`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from abcrown_graft.core.core import Core
from abcrown_graft.search.bab import JudgePoints, SearchResult, SearchSettings, search_steps
from abcrown_graft.search.budget import Budget
from abcrown_graft.search.mip import MipSettings, solve_mip
from abcrown_graft.search.task import Steps
from abcrown_graft.verdict import Verdict

TINY = 30  # unstable neurons up to which a mixed-integer program is tried before branch and bound
TINY_SHARE = 0.25  # of the time that is left

Complete = Callable[[Core, SearchSettings, MipSettings, Budget, JudgePoints], Steps[tuple[SearchResult, str]]]
"""From a core, efforts, what may be spent, and the judge of points to the steps that lead to result and status."""


def branch_and_bound(
    core: Core, settings: SearchSettings, mip: MipSettings, budget: Budget, judge_points: JudgePoints
) -> Steps[tuple[SearchResult, str]]:
    """α-CROWN, then branch and bound."""
    return (yield from with_status(search_steps(core, settings, judge_points, budget)))


def with_status(steps: Steps[SearchResult]) -> Steps[tuple[SearchResult, str]]:
    """Branch and bound, and α,β-CROWN's word for its result."""
    found = yield from steps
    if found.verdict is Verdict.VERIFIED:
        return found, "safe" if found.visited else "safe-incomplete"
    return found, "unsafe-bab" if found.verdict is Verdict.FALSIFIED else str(found.verdict)


def incomplete_only(
    core: Core, settings: SearchSettings, mip: MipSettings, budget: Budget, judge_points: JudgePoints
) -> Steps[tuple[SearchResult, str]]:
    """α-CROWN alone: of the margins, then of the neurons too."""
    return (yield from branch_and_bound(core, replace(settings, max_domains=0), mip, budget, judge_points))


def mixed_integer(
    core: Core, settings: SearchSettings, mip: MipSettings, budget: Budget, judge_points: JudgePoints
) -> Steps[tuple[SearchResult, str]]:
    """α-CROWN, then a mixed-integer program over the bounds it found."""
    first, status = yield from incomplete_only(core, settings, mip, budget, judge_points)
    left = budget.left()
    if first.verdict is not Verdict.UNKNOWN or left <= 0:
        return first, status
    found = solve_mip(first.core or core, replace(mip, timeout=left), judge_points)
    found = replace(found, lower_bound=max(first.lower_bound, found.lower_bound), core=first.core)
    words = {Verdict.VERIFIED: "safe-mip", Verdict.FALSIFIED: "unsafe-mip"}
    return found, words.get(found.verdict, str(found.verdict))


def automatic(
    core: Core, settings: SearchSettings, mip: MipSettings, budget: Budget, judge_points: JudgePoints
) -> Steps[tuple[SearchResult, str]]:
    """A mixed-integer program first where the core is tiny, otherwise and after that branch and bound.

    What α-CROWN made of the core for the program is what is searched.
    """
    if sum(core.sizes) <= TINY:
        budget.reserve = (1 - TINY_SHARE) * budget.left()
        found, status = yield from mixed_integer(core, settings, mip, budget, judge_points)
        budget.reserve = 0.0
        if found.verdict in (Verdict.VERIFIED, Verdict.FALSIFIED):
            return found, status
        core = found.core or core
    return (yield from branch_and_bound(core, settings, mip, budget, judge_points))
