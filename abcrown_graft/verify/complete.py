"""The complete stage: one open instance at a time is reduced to its core, and that is searched."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from abcrown_graft.core.check import check_core
from abcrown_graft.core.reduction import reduce_to_core
from abcrown_graft.search.bab import SearchResult, SearchSettings
from abcrown_graft.specification.specification import Specification
from abcrown_graft.verify.completion import COMPLETE
from abcrown_graft.verify.memory import is_out_of_memory
from abcrown_graft.verify.points import fools_alone, inside_box
from abcrown_graft.verify.problem import Batch
from abcrown_graft.verify.stages import rigorous_bounds
from abcrown_graft.verify.verdict import Verdict

log = logging.getLogger(__name__)


class OutOfTime(Exception):
    """The instance's time is over before its core is made."""


@contextmanager
def _one_thread() -> Iterator[None]:
    """The products of a search on the CPU are too small to share: handing them out costs more than it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@_one_thread()
def decide_open(batch: Batch, k: int) -> None:
    """Gives the open instance at position `k` its verdict, whatever happens.

    Where memory runs out, the search is run again with half the subproblems at once; an instance that
    fails otherwise is `error`, and the others go on.
    """
    settings = batch.settings.search
    while k not in batch.decisions:
        start = time.perf_counter()
        try:
            _decide(batch, k, settings)
        except OutOfTime:
            batch.decide(k, Verdict.TIMEOUT, "timeout")
        except Exception as error:
            out_of_memory = is_out_of_memory(error)
            if out_of_memory and settings is not None and settings.batch_size > 1:
                settings = replace(settings, batch_size=settings.batch_size // 2)
                continue
            log.debug("instance %d failed", batch.indices[k], exc_info=True)
            verdict = Verdict.OUT_OF_MEMORY if out_of_memory else Verdict.ERROR
            batch.decide(k, verdict, str(verdict), failure(error))
        finally:
            batch.seconds[k] += time.perf_counter() - start


def failure(error: Exception) -> str:
    """One line on what went wrong."""
    return f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0]}"


def _decide(batch: Batch, k: int, settings: SearchSettings | None) -> None:
    left = batch.settings.timeout - batch.seconds[k]
    if left <= 0:
        batch.decide(k, Verdict.TIMEOUT, "timeout")
    elif settings is None:
        batch.decide(k, Verdict.UNKNOWN, "unknown")
    else:
        found, status = _search(batch, k, replace(settings, timeout=left))
        if found.verdict is not Verdict.FALSIFIED:
            batch.lower_bound[k] = max(batch.lower_bound.get(k, found.lower_bound), found.lower_bound)
        batch.decide(k, found.verdict, status)


def _search(batch: Batch, k: int, settings: SearchSettings) -> tuple[SearchResult, str]:
    """Bounds, core and search of one instance, all of what decides in float64 with rounding accounted for."""
    deadline = time.perf_counter() + settings.timeout

    def checkpoint() -> None:
        if time.perf_counter() > deadline:
            raise OutOfTime

    bounds, clauses = rigorous_bounds(batch, [k], batch.settings.method, checkpoint)
    literals = _literals(batch.specification[k : k + 1], ~((clauses > 0) & clauses.isfinite()))
    core = reduce_to_core(bounds, *literals)
    if batch.settings.test_core:
        check_core(core, bounds.network, bounds.box, *literals[:2])
    complete = COMPLETE[batch.settings.complete_verifier]
    return complete(core, settings, batch.settings.mip, deadline, lambda points: _counterexample(batch, k, points))


def _literals(specification: Specification, wanted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows `(literals, outputs)`, offsets and clause numbers of the wanted clauses `(1, clauses)` of one instance."""
    rows, offsets = specification.rows[wanted], specification.offsets[wanted]
    clause = torch.arange(len(rows), device=rows.device).repeat_interleave(rows.shape[1])
    return rows.flatten(0, 1), offsets.flatten(), clause


def _counterexample(batch: Batch, k: int, points: Tensor) -> Tensor | None:
    """The first of the points `(n, d)` that fools the original model once it is inside the box; it is noted."""
    shaped = points.reshape(-1, *batch.images.shape[1:])
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
