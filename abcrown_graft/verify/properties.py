"""Verifies properties of one network that are given as boxes and unsafe outputs, many in a batch.

A property of several boxes is verified if all of them are, and falsified if one of them is; they share its time.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from abcrown_graft.formats.vnnlib.query import Query
from abcrown_graft.formats.vnnlib.specify import to_specification
from abcrown_graft.geometry.specification import Specification, Specify
from abcrown_graft.verdict import InstanceResult, Verdict
from abcrown_graft.verify.problem import Subject, VerifySettings
from abcrown_graft.verify.run import OnCounterexample, verify_images

NO_LABEL = -1
UNDECIDED = (Verdict.ERROR, Verdict.OUT_OF_MEMORY, Verdict.TIMEOUT, Verdict.UNKNOWN)  # the worst first
SEARCHED = (Verdict.UNKNOWN, Verdict.TIMEOUT, Verdict.OUT_OF_MEMORY)
NOT_EXACT = "the counterexample that was found satisfies the file's assertions only up to rounding"
Judge = Callable[[Tensor, Tensor], bool]


@dataclass(frozen=True, eq=False)
class Case:
    """A property to be verified.

    Attributes:
        index: its number.
        queries: its boxes with what is unsafe there; none at all: there is no counterexample.
        judge: whether input `shape` and output `(outputs,)` are a counterexample indeed.
        spent: seconds of its time that are gone already.
        warning: what is remarkable of the property; the `reason` of a result that has no other.
    """

    index: int
    queries: tuple[Query, ...]
    judge: Judge
    spent: float = 0.0
    warning: str | None = None


def verify_properties(
    subject: Subject,
    cases: Sequence[Case],
    settings: VerifySettings,
    dtype: torch.dtype,
    on_counterexample: OnCounterexample | None = None,
) -> Iterator[InstanceResult]:
    """One result for each case, in their order; they have no label and no predicted class.

    Args:
        subject: the network.
        cases: their properties.
        settings: how hard to try; `timeout` is each case's, and what it has spent already counts.
        dtype: of the numbers that the original network takes; counterexamples have it.
        on_counterexample: called with index and counterexample before its verdict is yielded.
    """
    run = _Run(subject, settings, dtype, on_counterexample)
    warnings = {case.index: case.warning for case in cases}
    for together, neighbours in itertools.groupby(cases, run.can_share):
        for result in run.many(list(neighbours)) if together else map(run.one, neighbours):
            yield result if result.reason is not None else replace(result, reason=warnings[result.index])


@dataclass(frozen=True, eq=False)
class _Run:
    subject: Subject
    settings: VerifySettings
    dtype: torch.dtype
    on_counterexample: OnCounterexample | None

    def can_share(self, case: Case) -> bool:
        """Whether the case can be one of a batch of several."""
        return len(case.queries) == 1 and case.spent < self.settings.timeout

    def many(self, cases: Sequence[Case]) -> Iterator[InstanceResult]:
        """Cases of one query each, which share batches."""
        by_index = {case.index: case for case in cases}
        points: dict[int, Tensor] = {}
        queries = {case.index: case.queries[0] for case in cases}
        for result in self._verify(queries, self.settings, points, [case.spent for case in cases]):
            case = by_index[result.index]
            yield self._judged(case, result, case.queries[0], points.get(result.index))

    def one(self, case: Case) -> InstanceResult:
        """A case by itself: all its queries go through the cheap stages together, then the open ones on one by one."""
        if not case.queries:
            return _plain(case, Verdict.VERIFIED, "safe-incomplete")
        if case.spent >= self.settings.timeout:
            return _plain(case, Verdict.TIMEOUT, str(Verdict.TIMEOUT))
        started = time.perf_counter()

        def seconds() -> float:
            return case.spent + time.perf_counter() - started

        points: dict[int, Tensor] = {}
        found: dict[int, InstanceResult] = {}
        for result in self._steps(case, seconds, points):
            earlier = found.get(result.index)
            result = result if earlier is None else _tightest(earlier, result)
            if result.verdict is Verdict.FALSIFIED:
                result = self._judged(case, result, case.queries[result.index], points[result.index])
                if result.verdict is Verdict.FALSIFIED:
                    return _joint(case, [result], seconds())
                del points[result.index]
            found[result.index] = result
        return _joint(case, [found.get(number) for number in range(len(case.queries))], seconds())

    def _steps(self, case: Case, seconds: Callable[[], float], points: dict[int, Tensor]) -> Iterator[InstanceResult]:
        """Results of the queries by their numbers.

        Those that the cheap stages leave open come as `timeout`, and again once they have been searched.
        """
        timeout, queries = self.settings.timeout, dict(enumerate(case.queries))
        left = max(timeout - seconds(), 0.0)
        cheap = replace(self.settings, search=None, timeout=left / len(queries))  # each is charged its share
        open_ones = []
        for result in self._verify(queries, cheap, points):
            if self.settings.search is not None and result.verdict in SEARCHED:
                open_ones.append(result.index)
                result = replace(result, verdict=Verdict.TIMEOUT, status=str(Verdict.TIMEOUT))
            yield result
            if seconds() > timeout:
                return
        for number in open_ones:
            if seconds() > timeout:
                return
            alone = replace(self.settings, attack=None, incomplete=False, timeout=timeout - seconds())
            yield from self._verify({number: queries[number]}, alone, points)

    def _verify(
        self,
        queries: Mapping[int, Query],
        settings: VerifySettings,
        points: dict[int, Tensor],
        spent: Sequence[float] | None = None,
    ) -> Iterator[InstanceResult]:
        shape = self.subject.exact.input.shape
        middle = np.stack([query.lower / 2 + query.upper / 2 for query in queries.values()])
        centres = torch.from_numpy(middle).to(self.dtype).view(-1, *shape)
        labels = torch.full((len(centres),), NO_LABEL)
        specify = _specify(queries, shape)
        for result in verify_images(
            *(self.subject, centres, labels, list(queries), settings, None, points.__setitem__, specify, spent)
        ):
            yield replace(result, predicted=NO_LABEL)

    def _judged(self, case: Case, result: InstanceResult, query: Query, point: Tensor | None) -> InstanceResult:
        """The result, if its counterexample is one by the file's own words; `unknown` if it is not."""
        if result.verdict is not Verdict.FALSIFIED or point is None:
            return result
        for candidate in (point, off_the_faces(point, query)):
            with torch.no_grad():
                output = self.subject.module(candidate.unsqueeze(0))[0]
            if case.judge(candidate, output):
                if self.on_counterexample is not None:
                    self.on_counterexample(case.index, candidate)
                return result
        return replace(result, verdict=Verdict.UNKNOWN, status=str(Verdict.UNKNOWN), reason=NOT_EXACT)


def off_the_faces(point: Tensor, query: Query) -> Tensor:
    """The point with every coordinate that is on a face of the query's box moved to the next number inside.

    The box is rounded outwards: where the file's bound is no float64, its face is outside of the file's box, and the
    next number of the point's precision is inside, if it is in the box at all.
    """
    bounds = (query.lower, query.upper)
    lower, upper = (torch.tensor(bound, device=point.device).view(point.shape) for bound in bounds)
    above, below = torch.full_like(point, torch.inf), torch.full_like(point, -torch.inf)
    up, down = torch.nextafter(point, above), torch.nextafter(point, below)
    moved = torch.where((point.double() == lower) & (up.double() <= upper), up, point)
    return torch.where((point.double() == upper) & (down.double() >= lower), down, moved)


def _specify(queries: Mapping[int, Query], shape: Sequence[int]) -> Specify:
    """See `Specify`; the images' numbers are those of the queries."""

    def specify(images: Tensor, labels: Tensor, indices: Sequence[int], outputs: Tensor) -> Specification:
        made = to_specification([queries[int(index)] for index in indices], shape)
        rows, offsets = (tensor.to(images.device) for tensor in (made.rows, made.offsets))
        return Specification(made.box.to(images.device), rows, offsets)

    return specify


def _plain(case: Case, verdict: Verdict, status: str) -> InstanceResult:
    """A result that nothing was computed for."""
    return InstanceResult(case.index, NO_LABEL, NO_LABEL, verdict, status, case.spent)


def _tightest(earlier: InstanceResult, later: InstanceResult) -> InstanceResult:
    """The later result of a query, with the best that is known of it."""
    bounds = [r.lower_bound for r in (earlier, later) if r.lower_bound is not None]
    margins = [r.margin for r in (earlier, later) if r.margin is not None]
    return replace(later, lower_bound=max(bounds, default=None), margin=min(margins, default=None))


def _joint(case: Case, found: Sequence[InstanceResult | None], seconds: float) -> InstanceResult:
    """The result of a case from those of its queries; None is one that its time was over for."""
    late = _plain(case, Verdict.TIMEOUT, str(Verdict.TIMEOUT))
    results = [late if result is None else result for result in found]
    verdicts = [Verdict.FALSIFIED, *UNDECIDED, Verdict.VERIFIED]
    deciding = min(results, key=lambda result: (verdicts.index(result.verdict), result.status == "safe-incomplete"))
    bounds = [-math.inf if result.lower_bound is None else result.lower_bound for result in results]
    margins = [result.margin for result in results if result.margin is not None]
    lower = min(bounds)
    return replace(
        deciding,
        index=case.index,
        seconds=seconds,
        lower_bound=lower if math.isfinite(lower) and deciding.verdict is not Verdict.FALSIFIED else None,
        margin=min(margins, default=None),
    )
