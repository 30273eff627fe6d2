"""Verifies cases of one network: those of one box share batches, those of several are decided box by box.

A case of several boxes is verified if all of them are, and falsified if one of them is; they share its time.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from abcrown_graft.geometry.box import Box
from abcrown_graft.geometry.rounding import next_above, next_below
from abcrown_graft.verdict import InstanceResult, Verdict
from abcrown_graft.verify.batches import OnCounterexample, verify_boxes
from abcrown_graft.verify.case import Case
from abcrown_graft.verify.problem import Subject, VerifySettings
from abcrown_graft.verify.stages import Recorder

UNDECIDED = (Verdict.ERROR, Verdict.OUT_OF_MEMORY, Verdict.TIMEOUT, Verdict.UNKNOWN)  # the worst first
SEARCHED = (Verdict.UNKNOWN, Verdict.TIMEOUT, Verdict.OUT_OF_MEMORY)
NOT_EXACT = "the counterexample that was found satisfies the file's assertions only up to rounding"


def verify_cases(
    subject: Subject,
    cases: Iterable[Case],
    settings: VerifySettings,
    recorder: Recorder | None = None,
    on_counterexample: OnCounterexample | None = None,
) -> Iterator[InstanceResult]:
    """One result for each case, in their order.

    Args:
        subject: the network.
        cases: asked for batch by batch.
        settings: how hard to try; `timeout` is each case's, and what it has spent already counts.
        recorder: sees each batch of cases of one box, see `stages.Recorder`.
        on_counterexample: called with index and counterexample before its verdict is yielded.

    Raises:
        OutputError: the recorder's file cannot be written.
    """
    run = _Run(subject, settings, recorder, on_counterexample)
    for together, neighbours in itertools.groupby(cases, run.can_share):
        if together:
            yield from run.many(neighbours)
        else:
            yield from (_warned(case, run.one(case)) for case in neighbours)


@dataclass(frozen=True, eq=False)
class _Run:
    subject: Subject
    settings: VerifySettings
    recorder: Recorder | None
    on_counterexample: OnCounterexample | None

    def can_share(self, case: Case) -> bool:
        """Whether the case can be one of a batch of several."""
        return len(case.specifications) == 1 and case.spent <= self.settings.timeout

    def many(self, cases: Iterable[Case]) -> Iterator[InstanceResult]:
        """Cases of one box each, which share batches."""
        waiting: dict[int, Case] = {}
        points: dict[int, Tensor] = {}

        def noted() -> Iterator[Case]:
            for case in cases:
                waiting[case.index] = case
                yield case

        for result in verify_boxes(self.subject, noted(), self.settings, self.recorder, points.__setitem__):
            case = waiting.pop(result.index)
            judged = self._judged(case, result, case.specifications[0].box, points.pop(result.index, None))
            yield _warned(case, judged)

    def one(self, case: Case) -> InstanceResult:
        """A case by itself: all its boxes go through the cheap stages together, then the open ones on one by one."""
        if not case.specifications:
            return _plain(case, Verdict.VERIFIED, "safe-incomplete")
        if case.spent > self.settings.timeout:
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
                result = self._judged(case, result, case.specifications[result.index].box, points[result.index])
                if result.verdict is Verdict.FALSIFIED:
                    return _joint(case, [result], seconds())
                del points[result.index]
            found[result.index] = result
        return _joint(case, [found.get(number) for number in range(len(case.specifications))], seconds())

    def _steps(self, case: Case, seconds: Callable[[], float], points: dict[int, Tensor]) -> Iterator[InstanceResult]:
        """Results of the boxes by their numbers.

        Those that the cheap stages leave open come as `timeout`, and again once they have been searched.
        """
        timeout, boxes = self.settings.timeout, _boxes(case)
        left = max(timeout - seconds(), 0.0)
        cheap = replace(self.settings, search=None, timeout=left / len(boxes))  # each is charged its share
        open_ones = []
        for result in verify_boxes(self.subject, boxes, cheap, None, points.__setitem__):
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
            yield from verify_boxes(self.subject, [boxes[number]], alone, None, points.__setitem__)

    def _judged(self, case: Case, result: InstanceResult, box: Box, point: Tensor | None) -> InstanceResult:
        """The result, if its counterexample is one by the case's own judge; `unknown` if it is not."""
        if result.verdict is not Verdict.FALSIFIED or point is None:
            return result
        for candidate in self._candidates(case, box, point):
            if case.judge is None or case.judge(candidate, self._output(candidate)):
                if self.on_counterexample is not None:
                    self.on_counterexample(case.index, candidate)
                return result
        return replace(result, verdict=Verdict.UNKNOWN, status=str(Verdict.UNKNOWN), reason=NOT_EXACT)

    def _candidates(self, case: Case, box: Box, point: Tensor) -> Iterator[Tensor]:
        yield point
        if case.judge is not None:
            yield off_the_faces(point, box)

    def _output(self, point: Tensor) -> Tensor:
        with torch.no_grad():
            outputs: Tensor = self.subject.module(point.unsqueeze(0))
        return outputs[0]


def off_the_faces(point: Tensor, box: Box) -> Tensor:
    """The point with every coordinate that is on a face of the box `(1, *shape)` moved to the next number inside.

    The box is rounded outwards: where the file's bound is no float64, its face is outside of the file's box, and the
    next number of the point's precision is inside, if it is in the box at all.
    """
    lower, upper = (bound[0].to(point.device) for bound in (box.lower, box.upper))
    up, down = next_above(point), next_below(point)
    moved = torch.where((point.double() == lower) & (up.double() <= upper), up, point)
    return torch.where((point.double() == upper) & (down.double() >= lower), down, moved)


def _warned(case: Case, result: InstanceResult) -> InstanceResult:
    """The result with the case's warning, unless it has another reason."""
    return result if result.reason is not None else replace(result, reason=case.warning)


def _boxes(case: Case) -> list[Case]:
    """The boxes of a case as cases of their own."""
    parts = enumerate(case.specifications)
    return [replace(case, index=number, specifications=(part,), judge=None, spent=0.0) for number, part in parts]


def _plain(case: Case, verdict: Verdict, status: str) -> InstanceResult:
    """A result that nothing was computed for."""
    return case.result(verdict, status, case.spent)


def _tightest(earlier: InstanceResult, later: InstanceResult) -> InstanceResult:
    """The later result of a box, with the best that is known of it."""
    bounds = [r.lower_bound for r in (earlier, later) if r.lower_bound is not None]
    margins = [r.margin for r in (earlier, later) if r.margin is not None]
    return replace(later, lower_bound=max(bounds, default=None), margin=min(margins, default=None))


def _joint(case: Case, found: Sequence[InstanceResult | None], seconds: float) -> InstanceResult:
    """The result of a case from those of its boxes; None is one that its time was over for."""
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
