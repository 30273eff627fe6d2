"""The bound that is reported after two verifiers have tried."""

from __future__ import annotations

import pytest

from abcrown_graft.search.bab import SearchResult, SearchSettings
from abcrown_graft.search.budget import Budget
from abcrown_graft.search.mip import MipSettings
from abcrown_graft.search.task import Steps, alone
from abcrown_graft.verdict import Verdict
from abcrown_graft.verify import completion
from abcrown_graft.verify.completion import mixed_integer


@pytest.mark.parametrize(("first", "second"), [(-0.7, -0.5), (-0.2, -0.5), (-0.2, -float("inf"))])
def test_it_is_the_better_of_the_two(monkeypatch: pytest.MonkeyPatch, first: float, second: float) -> None:
    def search_steps(*_: object) -> Steps[SearchResult]:
        yield from ()
        return SearchResult(Verdict.UNKNOWN, 0, first)

    monkeypatch.setattr(completion, "search_steps", search_steps)
    monkeypatch.setattr(completion, "solve_mip", lambda *_: SearchResult(Verdict.TIMEOUT, 3, second))
    found, status = alone(mixed_integer(None, SearchSettings(), MipSettings(), Budget(60), lambda _: None))
    assert (found.verdict, status, found.lower_bound) == (Verdict.TIMEOUT, "timeout", max(first, second))
