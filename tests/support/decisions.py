"""The results of runs, changed before they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from abcrown_graft.verdict import InstanceResult, Verdict
from abcrown_graft.verify.runner import Run

Results = Iterator[InstanceResult]


def with_decisions(monkeypatch: pytest.MonkeyPatch, change: Callable[[Results], Results]) -> None:
    """Has what an engine decides go through `change` in later runs."""
    decided = Run.decided
    monkeypatch.setattr(Run, "decided", lambda run: change(decided(run)))


def up_to(count: int) -> Callable[[Results], Results]:
    """Stops as on Ctrl-C after so many results."""

    def interrupted(results: Results) -> Results:
        for done, result in enumerate(results):
            if done == count:
                raise KeyboardInterrupt
            yield result

    return interrupted


def with_defect(index: int) -> Callable[[Results], Results]:
    """Makes an instance fail."""

    def failing(results: Results) -> Results:
        for result in results:
            failed = replace(result, verdict=Verdict.ERROR, status="error", reason="RuntimeError: a defect")
            yield failed if result.index == index else result

    return failing
