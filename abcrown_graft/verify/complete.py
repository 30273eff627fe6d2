"""The complete stage: open instances of few inputs have these split, others are reduced to cores that are searched."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from abcrown_graft.bounds.propagate import NetworkBounds
from abcrown_graft.core.check import check_core
from abcrown_graft.core.reduction import reduce_to_core
from abcrown_graft.geometry.specification import Specification
from abcrown_graft.search.bab import JudgePoints, SearchResult, SearchSettings
from abcrown_graft.search.box_task import Lines
from abcrown_graft.search.budget import Budget
from abcrown_graft.search.input_split import InputSplit, input_split_steps
from abcrown_graft.search.task import Steps
from abcrown_graft.search.together import together
from abcrown_graft.search.turns import in_turns
from abcrown_graft.verdict import Verdict
from abcrown_graft.verify.completion import Complete, with_status
from abcrown_graft.verify.failure import failure
from abcrown_graft.verify.memory import is_out_of_memory, release_memory
from abcrown_graft.verify.options import COMPLETE, SPLITS_INPUTS
from abcrown_graft.verify.points import fools_alone, inside_box
from abcrown_graft.verify.problem import Batch, OutOfTime
from abcrown_graft.verify.stages import rigorous_bounds

log = logging.getLogger(__name__)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The products of a search on the CPU are too small to share: handing them out costs more than it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def decide_open(batch: Batch, positions: Sequence[int]) -> Iterator[int]:
    """Gives open instances their verdicts, whatever happens, and yields the position of each as it is decided.

    They are searched side by side and share the time. Where memory runs out, the instance is searched again alone, with
    half the subproblems at once; one that fails otherwise is `error`, and the others go on.
    """
    yield from _decide(batch, positions, batch.settings.search)


def _decide(batch: Batch, positions: Sequence[int], settings: SearchSettings | None) -> Iterator[int]:
    again = []
    with _one_thread():
        for k, outcome in _outcomes(batch, positions, settings):
            failed = isinstance(outcome, Exception) and is_out_of_memory(outcome)
            if failed and settings is not None and settings.batch_size > 1:
                again.append(k)
            else:
                _conclude(batch, k, outcome)
                yield k
            del outcome  # an exception keeps what the attempt held
    if not again:
        return
    release_memory(batch.inputs.device)
    assert settings is not None
    for k in again:
        yield from _decide(batch, [k], replace(settings, batch_size=settings.batch_size // 2))


def _outcomes(
    batch: Batch, positions: Sequence[int], settings: SearchSettings | None
) -> Iterator[tuple[int, tuple[SearchResult, str] | Exception]]:
    """What each search came to; the time it took is charged to the instance."""
    budgets = [Budget(batch.settings.timeout - batch.seconds[k]) for k in positions]
    for budget in budgets:
        budget.share(len(positions))
    _bound_together(batch, positions, budgets)
    searches = [_search(batch, k, settings, budget) for k, budget in zip(positions, budgets, strict=True)]
    for number, outcome in together(list(zip(searches, budgets, strict=True))):
        budgets[number].left()
        batch.seconds[positions[number]] += budgets[number].spent
        yield positions[number], outcome


def _bound_together(batch: Batch, positions: Sequence[int], budgets: Sequence[Budget]) -> None:
    """Computes the bounds of several instances at once; if that fails, each search computes its own."""
    if len(positions) == 1 or batch.settings.search is None:
        return

    def raise_if_late() -> None:
        if any(budget.late() for budget in budgets):
            raise OutOfTime

    try:
        rigorous_bounds(batch, list(positions), batch.settings.method, raise_if_late)
    except Exception as error:
        log.debug("bounds of instances %s failed: %s", positions, failure(error))


def _conclude(batch: Batch, k: int, outcome: tuple[SearchResult, str] | Exception) -> None:
    if isinstance(outcome, OutOfTime):
        batch.decide(k, Verdict.TIMEOUT, "timeout")
    elif isinstance(outcome, Exception):
        log.debug("instance %d failed", batch.cases[k].index, exc_info=outcome)
        batch.fail(k, outcome)
    else:
        found, status = outcome
        if found.verdict is not Verdict.FALSIFIED and math.isfinite(found.lower_bound):
            batch.lower_bound[k] = max(batch.lower_bound.get(k, found.lower_bound), found.lower_bound)
        batch.decide(k, found.verdict, status)


def _search(batch: Batch, k: int, settings: SearchSettings | None, budget: Budget) -> Steps[tuple[SearchResult, str]]:
    """Bounds, core and search of one instance, all of what decides in float64 with rounding accounted for.

    Raises:
        OutOfTime: before there is a core.
    """

    def raise_if_late() -> None:
        if budget.late():
            raise OutOfTime

    raise_if_late()
    if settings is None:
        return SearchResult(Verdict.UNKNOWN, lower_bound=-math.inf), "unknown"
    bounds, clauses = rigorous_bounds(batch, [k], batch.settings.method, raise_if_late)

    def judge_points(points: Tensor) -> Tensor | None:
        return _counterexample(batch, k, points)

    specification, split = batch.specification[k : k + 1], _input_split(batch)
    literals = _literals(specification, ~((clauses > 0) & clauses.isfinite()))
    complete = COMPLETE[batch.settings.complete_verifier if split is None else "bab"]
    over_neurons = _over_neurons(batch, bounds, literals, complete, settings, budget, judge_points)
    if split is None:
        return (yield from over_neurons)
    root = Lines.of(bounds, specification)
    over_inputs = input_split_steps(
        bounds.network, specification, root, settings, split.branching, budget, judge_points
    )
    if split.alone:
        return (yield from with_status(over_inputs))
    return (yield from in_turns(with_status(over_inputs), over_neurons, budget))


def _over_neurons(
    batch: Batch,
    bounds: NetworkBounds,
    literals: tuple[Tensor, Tensor, Tensor],
    complete: Complete,
    settings: SearchSettings,
    budget: Budget,
    judge_points: JudgePoints,
) -> Steps[tuple[SearchResult, str]]:
    """The core, and what decides it; the first core of a network is compared with it, or all are."""
    core = reduce_to_core(bounds, *literals)
    checked = batch.subject.core_check
    if batch.settings.test_core or not checked.passed:
        check_core(core, bounds.network, bounds.box, *literals[:2])
        checked.passed = True
    return (yield from complete(core, settings, batch.settings.mip, budget, judge_points))


def _input_split(batch: Batch) -> InputSplit | None:
    """How inputs are split where that is what decides; None where it is not."""
    split = batch.settings.input_split
    if split is None or batch.settings.complete_verifier not in COMPLETE.having(SPLITS_INPUTS):
        return None
    return split if split.suits(batch.subject.exact) else None


def _literals(specification: Specification, wanted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows `(literals, outputs)`, offsets and clause numbers of the wanted clauses `(1, clauses)` of one instance."""
    rows, offsets = specification.rows[wanted], specification.offsets[wanted]
    clause = torch.arange(len(rows), device=rows.device).repeat_interleave(rows.shape[1])
    return rows.flatten(0, 1), offsets.flatten(), clause


def _counterexample(batch: Batch, k: int, points: Tensor) -> Tensor | None:
    """The first of the points `(n, d)` that fools the original model once it is inside the box; it is noted."""
    shaped = points.reshape(-1, *batch.inputs.shape[1:])
    inside = inside_box(batch, [k] * len(shaped), shaped)
    specification = batch.specification[torch.tensor([k] * len(inside))]
    with torch.no_grad():
        margins = specification.margins(batch.subject.module(inside))
    batch.margin[k] = min(batch.margin.get(k, float("inf")), float(margins.min()))
    for row in (margins <= 0).nonzero().flatten().tolist():
        if fools_alone(batch, k, inside[row]):
            batch.counterexamples[k] = inside[row]
            return inside[row]
    return None
