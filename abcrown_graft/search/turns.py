"""Two searches for one verdict that take turns: it takes at most about twice as long as the better one alone."""

from __future__ import annotations

from abcrown_graft.search.bab import SearchResult
from abcrown_graft.search.budget import Budget
from abcrown_graft.search.task import Found, Steps
from abcrown_graft.verdict import Verdict

HEAD_START = 2.0  # seconds of the first before the second begins

Outcome = tuple[SearchResult, str]
"""Result and status."""


def in_turns(first: Steps[Outcome], second: Steps[Outcome], budget: Budget) -> Steps[Outcome]:
    """The outcome of the search that decides; the turn is the first's for a while, then of the one that had less time.

    A search that ends as `unknown` leaves its time to the other one, whose outcome then counts.

    Args:
        first, second: not started; both within `budget`.
        budget: of the instance.
    """
    waiting: dict[int, tuple[Steps[Outcome], Found]] = {0: (first, None), 1: (second, None)}
    spent = {0: -HEAD_START, 1: 0.0}
    while True:
        turn = min(waiting, key=lambda number: spent[number])
        steps, result = waiting[turn]
        budget.left()
        before = budget.spent
        try:
            task = steps.send(result)
        except StopIteration as end:
            del waiting[turn]
            outcome: Outcome = end.value
            if outcome[0].verdict is not Verdict.UNKNOWN or not waiting:
                return outcome
            continue
        waiting[turn] = steps, (yield task)
        budget.left()
        spent[turn] += budget.spent - before
