"""What decides a core: a registry with the names of α,β-CROWN's `general.complete_verifier`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from abcrown_graft.core.core import Core
from abcrown_graft.registry import Registry
from abcrown_graft.search.bab import CheckPoints, SearchResult, SearchSettings, search
from abcrown_graft.search.mip import MipSettings, solve_mip
from abcrown_graft.verify.verdict import Verdict

TINY = 30  # unstable neurons up to which a mixed-integer program is tried before branch and bound
TINY_SHARE = 0.25  # of the time that is left

Complete = Callable[[Core, SearchSettings, MipSettings, float, CheckPoints], tuple[SearchResult, str]]
"""From a core, efforts, the deadline on `time.perf_counter`, and the judge of points to result and status."""

COMPLETE: Registry[Complete] = Registry("complete verifier")


@COMPLETE.register("bab")
def branch_and_bound(
    core: Core, settings: SearchSettings, mip: MipSettings, deadline: float, check_points: CheckPoints
) -> tuple[SearchResult, str]:
    """α-CROWN, then branch and bound."""
    found = search(core, replace(settings, timeout=deadline - time.perf_counter()), check_points)
    if found.verdict is Verdict.VERIFIED:
        return found, "safe" if found.visited else "safe-incomplete"
    return found, "unsafe-bab" if found.verdict is Verdict.FALSIFIED else str(found.verdict)


@COMPLETE.register("skip")
def incomplete_only(
    core: Core, settings: SearchSettings, mip: MipSettings, deadline: float, check_points: CheckPoints
) -> tuple[SearchResult, str]:
    """α-CROWN alone: of the margins, then of the neurons too."""
    return branch_and_bound(core, replace(settings, max_domains=0), mip, deadline, check_points)


@COMPLETE.register("mip")
def mixed_integer(
    core: Core, settings: SearchSettings, mip: MipSettings, deadline: float, check_points: CheckPoints
) -> tuple[SearchResult, str]:
    """α-CROWN, then a mixed-integer program over the bounds it found."""
    first, status = incomplete_only(core, settings, mip, deadline, check_points)
    left = deadline - time.perf_counter()
    if first.verdict is not Verdict.UNKNOWN or left <= 0:
        return first, status
    found = solve_mip(first.core or core, replace(mip, timeout=left), check_points)
    found = replace(found, lower_bound=max(first.lower_bound, found.lower_bound))
    words = {Verdict.VERIFIED: "safe-mip", Verdict.FALSIFIED: "unsafe-mip"}
    return found, words.get(found.verdict, str(found.verdict))


@COMPLETE.register("auto")
def automatic(
    core: Core, settings: SearchSettings, mip: MipSettings, deadline: float, check_points: CheckPoints
) -> tuple[SearchResult, str]:
    """A mixed-integer program first where the core is tiny, otherwise and after that branch and bound."""
    if sum(core.sizes) <= TINY:
        now = time.perf_counter()
        found, status = mixed_integer(core, settings, mip, now + TINY_SHARE * (deadline - now), check_points)
        if found.verdict in (Verdict.VERIFIED, Verdict.FALSIFIED):
            return found, status
    return branch_and_bound(core, settings, mip, deadline, check_points)
