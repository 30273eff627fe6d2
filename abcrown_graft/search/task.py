"""The tasks of a search. It yields them and is sent their results, so that several searches can share a batch."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

import torch

from abcrown_graft.core.core import Core, CoreView
from abcrown_graft.core.dual import Duals, Optimized
from abcrown_graft.search.box_task import BoxTask, Lines, bound_boxes
from abcrown_graft.search.branching import BranchingSettings
from abcrown_graft.search.budget import Budget
from abcrown_graft.search.optimize import AdamSettings, optimize
from abcrown_graft.search.options import BRANCHING


@dataclass(frozen=True, eq=False)
class BoundTask:
    """Subproblems of a core, to be bounded.

    Attributes:
        core: in search precision.
        start: where the optimisation starts.
        effort: of the optimisation.
        budget: of the search; the work stops when its time is over.
    """

    core: Core
    start: Duals
    effort: AdamSettings
    budget: Budget

    @property
    def kind(self) -> tuple[object, ...]:
        """Tasks of one kind can share a batch."""
        return (self.effort,)


@dataclass(frozen=True, eq=False)
class SplitTask:
    """Subproblems of a core, to be split; the two halves of each are bounded and come one after the other.

    Attributes:
        core: in search precision.
        parents: with a free neuron each.
        branching: which neuron to split.
        effort: of the optimisation.
        budget: of the search; the work stops when its time is over.
    """

    core: Core
    parents: Optimized
    branching: BranchingSettings
    effort: AdamSettings
    budget: Budget

    @property
    def kind(self) -> tuple[object, ...]:
        """Tasks of one kind can share a batch."""
        return (self.effort, self.branching)


Task = BoundTask | SplitTask | BoxTask
Found = Optimized | Lines | None
"""The result of a task: `Optimized`; of a `BoxTask`, `Lines` or None."""

T = TypeVar("T")
Steps = Generator[Task, Found, T]


def bounded(task: BoundTask | SplitTask) -> Steps[Optimized]:
    """The step that asks for subproblems to be bounded."""
    found = yield task
    assert isinstance(found, Optimized), "the result of another task"
    return found


def bounded_boxes(task: BoxTask) -> Steps[Lines | None]:
    """The step that asks for boxes to be bounded."""
    found = yield task
    assert not isinstance(found, Optimized), "the result of another task"
    return found


def perform(task: Task) -> Found:
    """Does the work of one task."""
    if isinstance(task, BoxTask):
        return next(bound_boxes([task]))
    start = halves(task.core, task.parents, task.branching) if isinstance(task, SplitTask) else task.start
    return optimize(task.core, start, task.effort, stop=task.budget.late)


def alone(steps: Steps[T]) -> T:
    """Runs one search to its end."""
    found: Found = None
    while True:
        try:
            task = steps.send(found)
        except StopIteration as end:
            result: T = end.value
            return result
        found = perform(task)


def halves(core: CoreView, parents: Optimized, settings: BranchingSettings) -> Duals:
    """Both halves of each parent, the active one first.

    Where the split neuron had its lower line, β starts with what leaves P as it was, so that the
    bound starts at the parent's: A (1 - α) on the active side, A α on the inactive one.

    Args:
        core: of the parents.
        parents: with a free neuron each, `batch` columns.
        settings: which neuron to split.

    Returns:
        Subproblems of the same core, `2 * batch` columns.
    """
    neuron = BRANCHING[settings.method](core, parents, settings).repeat_interleave(2)
    column = torch.arange(len(neuron), device=neuron.device)
    below = parents.bound.coefficients[neuron, column // 2].clamp(min=0)
    duals = parents.duals[column // 2]
    active = column % 2 == 0
    alpha = duals.slack[neuron, column]
    duals.split[neuron, column] = torch.where(active, 1.0, -1.0).to(duals.split)
    duals.slack[neuron, column] = below * torch.where(active, 1 - alpha, alpha)
    return duals
