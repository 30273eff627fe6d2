"""What a search wants computed: it yields tasks and is sent their results, so that several searches can share them."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from abcrown_graft.core.core import Core
from abcrown_graft.core.dual import Duals, Optimized
from abcrown_graft.search.box_task import BoxTask, Lines, bound_boxes
from abcrown_graft.search.branching import BranchingSettings
from abcrown_graft.search.budget import Budget
from abcrown_graft.search.optimize import AdamSettings, optimize
from abcrown_graft.search.options import BRANCHING


@dataclass(frozen=True, eq=False)
class Task:
    """Subproblems of a core, to be bounded.

    Attributes:
        core: in search precision.
        subproblems: where the optimisation starts; or, if `branching` is set, the parents whose halves are meant.
        effort: of the optimisation.
        budget: of the search; the work stops when its time is over.
        branching: how to split the parents.
    """

    core: Core
    subproblems: Duals | Optimized
    effort: AdamSettings
    budget: Budget
    branching: BranchingSettings | None = None

    @property
    def kind(self) -> tuple[object, ...]:
        """Tasks of one kind can share a batch."""
        return (self.effort, self.branching, type(self.subproblems))


T = TypeVar("T")
Steps = Generator[Task | BoxTask, Any, T]


def perform(task: Task | BoxTask) -> Optimized | Lines | None:
    """Does the work; of parents, the two halves of each come one after the other."""
    if isinstance(task, BoxTask):
        return next(bound_boxes([task]))
    start = task.subproblems
    if task.branching is not None:
        start = halves(task.core, start, task.branching)
    return optimize(task.core, start, task.effort, stop=task.budget.late)


def alone(steps: Steps[T]) -> T:
    """Runs one search to its end."""
    found: Optimized | Lines | None = None
    while True:
        try:
            task = steps.send(found)
        except StopIteration as end:
            return end.value
        found = perform(task)


def halves(core: Core, parents: Optimized, settings: BranchingSettings) -> Duals:
    """Both halves of each parent, the active one first, `(2 * batch)` columns.

    Where the split neuron had its lower line, β starts with what leaves P as it was, so that the
    bound starts at the parent's: A (1 - α) on the active side, A α on the inactive one.
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
