"""Runs several searches side by side: steps of the same kind are one batch."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from abcrown_graft.core.dual import Optimized
from abcrown_graft.core.joint import Joint
from abcrown_graft.search.box_task import BoxTask, Lines, bound_boxes
from abcrown_graft.search.budget import Budget
from abcrown_graft.search.optimize import optimize
from abcrown_graft.search.task import Steps, Task, halves, perform

log = logging.getLogger(__name__)

T = TypeVar("T")
Found = Optimized | Lines


def together(searches: Sequence[tuple[Steps[T], Budget]]) -> Iterator[tuple[int, T | Exception]]:
    """The number and the result of each search as it ends, or the exception that ended it.

    Args:
        searches: steps, and the budget that their tasks name; the searches that still run share the time equally.
    """
    running, workshop = dict(enumerate(searches)), _Workshop()
    found: dict[int, Found | Exception | None] = dict.fromkeys(running)
    while running:
        waiting: dict[int, Task | BoxTask] = {}
        for _, budget in running.values():
            budget.share(len(running))
        for number, result in found.items():
            try:
                steps = running[number][0]
                waiting[number] = steps.throw(result) if isinstance(result, Exception) else steps.send(result)
            except StopIteration as end:
                del running[number]
                yield number, end.value
            except Exception as error:
                del running[number]
                yield number, error
        found = workshop.perform(waiting)


class _Workshop:
    """Does the tasks of a round; the cores that were joined last are kept, they mostly stay the same."""

    def __init__(self) -> None:
        self._joint: Joint | None = None
        self._one_by_one: set[tuple[object, ...]] = set()  # kinds of which a batch has failed

    def perform(self, tasks: Mapping[int, Task | BoxTask]) -> dict[int, Found | Exception | None]:
        """Results by the searches' numbers. A batch that fails is done again one by one, to tell whose fault it is."""
        kinds: dict[tuple[object, ...], list[int]] = {}
        for number, task in tasks.items():
            kinds.setdefault((type(task), *task.kind), []).append(number)
        found: dict[int, Found | Exception | None] = {}
        for kind, numbers in kinds.items():
            chosen = [tasks[number] for number in numbers]
            found.update(zip(numbers, self._batch(kind, chosen), strict=True))
        return found

    def _batch(self, kind: tuple[object, ...], tasks: list[Task] | list[BoxTask]) -> list[Found | Exception | None]:
        if len(tasks) > 1 and kind not in self._one_by_one:
            try:
                return [*(bound_boxes(tasks) if isinstance(tasks[0], BoxTask) else self._jointly(tasks))]
            except Exception:
                log.debug("a batch of %d searches failed; they go on one by one", len(tasks), exc_info=True)
                self._joint = None
                self._one_by_one.add(kind)
        return [_attempted(task) for task in tasks]

    def _jointly(self, tasks: list[Task]) -> Iterator[Optimized]:
        cores = tuple(task.core for task in tasks)
        if self._joint is None or self._joint.cores != cores:
            self._joint = Joint(cores)
        joint, first = self._joint, tasks[0]
        core, start = joint.join([task.subproblems for task in tasks])
        factor = 1
        if first.branching is not None:
            start, factor = halves(core, start, first.branching), 2
            core = joint.seen_by(core.columns.owner.repeat_interleave(2))
        found = optimize(core, start, first.effort, stop=lambda: any(task.budget.late() for task in tasks))
        begin = 0
        for number, task in enumerate(tasks):
            end = begin + factor * len(task.subproblems)
            yield joint.part(found, number, slice(begin, end))
            begin = end


def _attempted(task: Task | BoxTask) -> Found | Exception | None:
    try:
        return perform(task)
    except Exception as error:
        return error
