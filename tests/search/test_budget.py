from __future__ import annotations

import pytest

from abcrown_graft.search import budget as module
from abcrown_graft.search.budget import Budget


@pytest.fixture
def clock(monkeypatch):
    """The time that `perf_counter` tells, in a list of one number."""
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


def test_time_goes_by(clock):
    budget = Budget(10)
    clock[0] += 4
    assert (budget.left(), budget.late(), budget.spent) == (6, False, 4)
    clock[0] += 6
    assert not budget.late()
    clock[0] += 0.5
    assert budget.late() and budget.spent == 10.5


def test_shared_time_is_charged_in_equal_parts(clock):
    budget = Budget(10)
    clock[0] += 1
    budget.share(4)
    clock[0] += 8
    budget.share(2)
    clock[0] += 8
    assert budget.left() == 10 - 1 - 2 - 4


def test_a_reserve_is_kept(clock):
    budget = Budget(10)
    budget.reserve = 7.5
    clock[0] += 3
    assert budget.late() and budget.left() == -0.5
    budget.reserve = 0.0
    assert not budget.late() and budget.left() == 7
