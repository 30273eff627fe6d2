"""What α,β-CROWN's words mean: one verdict for each status, and `error` for anything else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from abcrown_graft.verdict import Verdict

LATE = " (timed out)"  # after the status of an instance that was decided after its time; it counts as decided there
VERDICTS: Mapping[str, Verdict] = {
    **dict.fromkeys(("safe", "safe-incomplete", "safe-incomplete-refine", "safe-mip"), Verdict.VERIFIED),
    **dict.fromkeys(("unsafe", "unsafe-pgd", "unsafe-bab", "unsafe-mip"), Verdict.FALSIFIED),
    **dict.fromkeys(("unknown", "unknown-mip"), Verdict.UNKNOWN),
}


@dataclass(frozen=True)
class Outcome:
    """What α,β-CROWN says of an instance.

    Attributes:
        verdict: `falsified` still has to be confirmed by its counterexample.
        status: its word; "error" or "out-of-memory" where it failed.
        seconds: that it took, by its own clock.
        lower_bound: of the smallest margin, by the first bounds; None if not known.
        reason: what went wrong.
    """

    verdict: Verdict
    status: str
    seconds: float
    lower_bound: float | None = None
    reason: str | None = None


def failed(reason: str, seconds: float = 0.0, out_of_memory: bool = False) -> Outcome:
    """An instance without an answer.

    Args:
        reason: what went wrong, in one line.
        seconds: that it took.
        out_of_memory: whether that was for want of memory.
    """
    verdict = Verdict.OUT_OF_MEMORY if out_of_memory else Verdict.ERROR
    return Outcome(verdict, str(verdict), seconds, reason=reason)


def outcome_of(report: Mapping[str, Any]) -> Outcome:
    """The outcome that the report on an instance states; a malformed report is an `error`.

    α,β-CROWN's `unknown` is a `timeout` if the instance had its time.
    """
    try:
        seconds = float(report["seconds"])
        if "error" in report:
            return failed(str(report["error"]), seconds, report.get("out_of_memory") is True)
        status, lower, timeout = report["status"], report["lower"], float(report["timeout"])
        verdict = VERDICTS.get(status.removesuffix(LATE))
        lower = None if lower is None else float(lower)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return failed(f"α,β-CROWN's process wrote a report that cannot be read ({type(error).__name__}: {error})")
    if verdict is None:
        return failed(f"α,β-CROWN gave an unknown status, {status!r}", seconds)
    if verdict is Verdict.VERIFIED and lower is not None and not lower > 0:
        return failed(f"α,β-CROWN says {status!r} with a lower bound of {lower}", seconds)
    if verdict is Verdict.UNKNOWN and seconds >= timeout:
        verdict = Verdict.TIMEOUT
    return Outcome(verdict, status, seconds, lower if lower is None or math.isfinite(lower) else None)
