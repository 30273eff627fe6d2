from __future__ import annotations

import pytest

from abcrown_graft.search import turns
from abcrown_graft.search.bab import SearchResult
from abcrown_graft.search.budget import Budget
from abcrown_graft.search.turns import in_turns
from abcrown_graft.verdict import Verdict


class Clock(Budget):
    """A budget whose time passes when a task is done."""

    def __init__(self) -> None:
        super().__init__(1e9)

    def left(self) -> float:
        return 1e9 - self.spent


def searching(name: str, steps: int, verdict: Verdict):
    """Asks for tasks that are called by its name, and checks that the results are its own."""
    for number in range(steps):
        assert (yield (name, number)) == (name, number)
    return SearchResult(verdict), name


def run(first, second) -> tuple[str, str]:
    """Who decided, and whose turn it was, in order; each task takes a second."""
    budget, order, task = Clock(), "", None
    steps = in_turns(first, second, budget)
    while True:
        try:
            task = steps.send(task)
        except StopIteration as end:
            return end.value[1], order
        order += task[0]
        budget.spent += 1


@pytest.fixture(autouse=True)
def head_start(monkeypatch):
    monkeypatch.setattr(turns, "HEAD_START", 2.5)


def test_the_first_has_a_head_start_and_then_both_as_much():
    assert run(searching("a", 9, Verdict.VERIFIED), searching("b", 2, Verdict.VERIFIED)) == ("b", "aaababa")


@pytest.mark.parametrize("verdict", [Verdict.VERIFIED, Verdict.FALSIFIED, Verdict.TIMEOUT])
def test_what_ends_first_decides(verdict):
    assert run(searching("a", 2, verdict), searching("b", 1, Verdict.UNKNOWN)) == ("a", "aa")


def test_the_second_is_not_begun_where_the_first_is_quick():
    def untouched():
        pytest.fail("it was begun")
        yield

    assert run(searching("a", 1, Verdict.VERIFIED), untouched()) == ("a", "a")


def test_what_ends_as_unknown_leaves_its_time_to_the_other():
    assert run(searching("a", 1, Verdict.UNKNOWN), searching("b", 3, Verdict.VERIFIED)) == ("b", "abbb")
    assert run(searching("a", 6, Verdict.VERIFIED), searching("b", 1, Verdict.UNKNOWN)) == ("a", "aaabaaa")
    assert run(searching("a", 1, Verdict.UNKNOWN), searching("b", 1, Verdict.UNKNOWN)) == ("b", "ab")


def test_a_search_that_fails_is_no_verdict():
    def failing():
        yield ("a", 0)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run(failing(), searching("b", 3, Verdict.VERIFIED))
