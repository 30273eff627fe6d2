"""Searches side by side."""

from __future__ import annotations

import itertools

import pytest
from sample_cores import KINDS, Instance, near

from abcrown_graft.search import bab
from abcrown_graft.search import together as module
from abcrown_graft.search.bab import SearchResult, SearchSettings, search_steps
from abcrown_graft.search.branching import BranchingSettings
from abcrown_graft.search.budget import Budget
from abcrown_graft.search.optimize import AdamSettings
from abcrown_graft.search.task import perform
from abcrown_graft.search.together import together
from abcrown_graft.verdict import Verdict

pytestmark = pytest.mark.usefixtures("one_thread")

USUAL = SearchSettings(12, alpha=AdamSettings(4, 0.1, 0.05), beta=AdamSettings(4, 0.05, 0.1))


def side_by_side(
    found: list[Instance], settings: SearchSettings, timeouts: list[float] | None = None
) -> dict[int, SearchResult | Exception]:
    budgets = [Budget(seconds) for seconds in timeouts or [60.0] * len(found)]
    steps = [search_steps(one.core, settings, None, budget) for one, budget in zip(found, budgets, strict=True)]
    return dict(together(list(zip(steps, budgets, strict=True))))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fraction", [0, 0.5])
@pytest.mark.parametrize("method", ["kfsb", "random"])
@pytest.mark.parametrize("tighten_after", [4, 500])
def test_verdicts_are_the_truth(monkeypatch, kind, fraction, method, tighten_after):
    monkeypatch.setattr(bab, "TIGHTEN_AFTER", tighten_after)
    settings = SearchSettings(12, alpha=USUAL.alpha, beta=USUAL.beta, branching=BranchingSettings(method))
    found = [near(kind, seed, fraction, least) for seed, least in itertools.product(range(3), (0.003, -0.003))]
    results = side_by_side(found, settings)
    assert all(isinstance(results[k], SearchResult) for k in range(len(found))), results
    verdicts = [results[k].verdict for k in range(len(found))]
    assert verdicts == [Verdict.VERIFIED, Verdict.UNKNOWN] * 3, "without a judge of points what is false stays open"


def test_they_share_batches(monkeypatch):
    """As long as two searches run, no step is done for one alone."""
    found, alone = [near("dense", seed, 0, 0.003) for seed in (16, 17, 18)], []
    monkeypatch.setattr(module, "perform", lambda task: alone.append(task) or perform(task))
    results = side_by_side(found, USUAL)
    visited = sorted(result.visited for result in results.values())
    assert visited[0] > 0 and all(result.verdict is Verdict.VERIFIED for result in results.values())
    assert len({id(task.budget) for task in alone}) <= 1, "only the last one is ever on its own"


def test_each_has_its_own_time():
    found = [near("dense", seed, 0, 0.003) for seed in (16, 17, 18)]
    results = side_by_side(found, USUAL, [60.0, 0.0, 60.0])
    assert [results[k].verdict for k in range(3)] == [Verdict.VERIFIED, Verdict.TIMEOUT, Verdict.VERIFIED]


class TestFailures:
    def test_a_search_that_fails_ends_alone(self):
        found = [near("dense", seed, 0, 0.003) for seed in (16, 17)]
        budgets = [Budget(60.0) for _ in range(3)]

        def broken():
            raise ValueError("no search")
            yield

        steps = [search_steps(found[0].core, USUAL, None, budgets[0]), broken()]
        steps.append(search_steps(found[1].core, USUAL, None, budgets[2]))
        results = dict(together(list(zip(steps, budgets, strict=True))))
        assert sorted(results) == [0, 1, 2]
        assert isinstance(results[1], ValueError)
        assert [results[k].verdict for k in (0, 2)] == [Verdict.VERIFIED] * 2

    def test_a_batch_that_fails_is_done_one_by_one(self, monkeypatch):
        found, tried = [near("dense", seed, 0, 0.003) for seed in (16, 17, 18)], []

        def no_memory(*_: object, **__: object) -> None:
            tried.append(1)
            raise MemoryError

        monkeypatch.setattr(module, "optimize", no_memory)
        results = side_by_side(found, USUAL)
        assert len(tried) == 2, "once at the roots and once at their parts; then they are left alone"
        assert all(result.verdict is Verdict.VERIFIED for result in results.values())

    def test_and_the_one_whose_fault_it_is_ends(self, monkeypatch):
        found = [near("dense", seed, 0, 0.003) for seed in (16, 17, 18)]
        guilty = sum(found[1].core.sizes)
        assert [sum(one.core.sizes) for one in found].count(guilty) == 1

        def no_memory(*_: object, **__: object) -> None:
            raise MemoryError

        def careful(task):
            if sum(task.core.sizes) == guilty:
                raise MemoryError("too large")
            return perform(task)

        monkeypatch.setattr(module, "optimize", no_memory)
        monkeypatch.setattr(module, "perform", careful)
        results = side_by_side(found, USUAL)
        assert str(results[1]) == "too large"
        assert [results[k].verdict for k in (0, 2)] == [Verdict.VERIFIED] * 2

    def test_an_interruption_ends_all(self, monkeypatch):
        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(module, "optimize", interrupted)
        with pytest.raises(KeyboardInterrupt):
            side_by_side([near("dense", seed, 0, 0.003) for seed in (16, 17)], USUAL)
