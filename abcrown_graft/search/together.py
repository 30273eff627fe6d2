"""Runs several searches side by side: steps of the same kind are one batch."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from abcrown_graft.core.core import Core
from abcrown_graft.core.dual import Optimized
from abcrown_graft.core.joint import Joint
from abcrown_graft.search.box_task import BoxTask, bound_boxes
from abcrown_graft.search.budget import Budget
from abcrown_graft.search.optimize import optimize
from abcrown_graft.search.task import BoundTask, Found, SplitTask, Steps, Task, halves, perform

log = logging.getLogger(__name__)

T = TypeVar("T")


def together(searches: Sequence[tuple[Steps[T], Budget]]) -> Iterator[tuple[int, T | Exception]]:
    """The number and the result of each search as it ends, or the exception that ended it.

    Args:
        searches: steps, and the budget that their tasks name; the searches that still run share the time equally.
    """
    running, workshop = dict(enumerate(searches)), _Workshop()
    found: dict[int, Found | Exception] = dict.fromkeys(running)
    while running:
        waiting: dict[int, Task] = {}
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

    def perform(self, tasks: Mapping[int, Task]) -> dict[int, Found | Exception]:
        """Results by the searches' numbers. A batch that fails is done again one by one, to tell whose fault it is."""
        kinds: dict[tuple[object, ...], list[int]] = {}
        for number, task in tasks.items():
            kinds.setdefault((type(task), *task.kind), []).append(number)
        found: dict[int, Found | Exception] = {}
        for kind, numbers in kinds.items():
            chosen = [tasks[number] for number in numbers]
            found.update(zip(numbers, self._batch(kind, chosen), strict=True))
        return found

    def _batch(self, kind: tuple[object, ...], tasks: list[Task]) -> list[Found | Exception]:
        if len(tasks) > 1 and kind not in self._one_by_one:
            try:
                return [*self._jointly(tasks)]
            except Exception:
                log.debug("a batch of %d searches failed; they go on one by one", len(tasks), exc_info=True)
                self._joint = None
                self._one_by_one.add(kind)
        return [_attempted(task) for task in tasks]

    def _jointly(self, tasks: list[Task]) -> Iterator[Found]:
        """The results of tasks of one kind, and so of one class."""
        boxes = [task for task in tasks if isinstance(task, BoxTask)]
        bounds = [task for task in tasks if isinstance(task, BoundTask)]
        splits = [task for task in tasks if isinstance(task, SplitTask)]
        if boxes:
            yield from bound_boxes(boxes)
        if bounds:
            yield from self._bounded(bounds)
        if splits:
            yield from self._split(splits)

    def _bounded(self, tasks: list[BoundTask]) -> Iterator[Optimized]:
        joint = self._joined([task.core for task in tasks])
        core, start = joint.join([task.start for task in tasks])
        found = optimize(core, start, tasks[0].effort, stop=lambda: _late(tasks))
        return _parted(joint, found, [len(task.start) for task in tasks])

    def _split(self, tasks: list[SplitTask]) -> Iterator[Optimized]:
        joint = self._joined([task.core for task in tasks])
        core, parents = joint.join_parents([task.parents for task in tasks])
        start = halves(core, parents, tasks[0].branching)
        core = joint.seen_by(core.columns.owner.repeat_interleave(2))
        found = optimize(core, start, tasks[0].effort, stop=lambda: _late(tasks))
        return _parted(joint, found, [2 * len(task.parents) for task in tasks])

    def _joined(self, cores: Sequence[Core]) -> Joint:
        if self._joint is None or self._joint.cores != tuple(cores):
            self._joint = Joint(cores)
        return self._joint


def _late(tasks: Sequence[BoundTask | SplitTask]) -> bool:
    return any(task.budget.late() for task in tasks)


def _parted(joint: Joint, found: Optimized, counts: Sequence[int]) -> Iterator[Optimized]:
    """The columns of each core, `counts` of them, as its own."""
    begin = 0
    for number, count in enumerate(counts):
        yield joint.part(found, number, slice(begin, begin + count))
        begin += count


def _attempted(task: Task) -> Found | Exception:
    try:
        return perform(task)
    except Exception as error:
        return error
