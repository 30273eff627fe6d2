"""The step of an input split: lines below the literals of boxes, in float64 and true in real arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from abcrown_graft.bounds.gradients import steepest
from abcrown_graft.bounds.literals import literal_lower_lines
from abcrown_graft.bounds.propagate import NetworkBounds, bound_network
from abcrown_graft.geometry.specification import Specification
from abcrown_graft.network.graph import Network
from abcrown_graft.search.budget import Budget


@dataclass(frozen=True, eq=False)
class Lines:
    """Linear functions of the input below the literals.

    Attributes:
        coefficients: `(n, clauses, literals, inputs)`.
        lower: their minima over the boxes, which hold in real arithmetic, `(n, clauses, literals)`.
        steepest: at least the literals' absolute derivatives, `(n, clauses, literals, inputs)`, up to rounding.
    """

    coefficients: Tensor
    lower: Tensor
    steepest: Tensor

    def __getitem__(self, index: slice | Tensor) -> Lines:
        return Lines(self.coefficients[index], self.lower[index], self.steepest[index])

    @classmethod
    def of(cls, bounds: NetworkBounds, specification: Specification) -> Lines:
        """Over boxes whose bounds are known; these are rigorous."""
        with torch.backends.cudnn.flags(enabled=False):
            coefficients, lower = literal_lower_lines(bounds, specification)
            slopes = steepest(bounds, specification.rows.flatten(1, 2))
        return cls(coefficients, lower, slopes.reshape(coefficients.shape))


@dataclass(frozen=True, eq=False)
class BoxTask:
    """Boxes to be bounded by CROWN. Its result is `Lines`, or None if the time was over before that.

    Attributes:
        network: in float64.
        specification: what is to be proved of each box.
        budget: of the search.
    """

    network: Network
    specification: Specification
    budget: Budget

    @property
    def kind(self) -> tuple[object, ...]:
        """Tasks of one kind can share a batch."""
        return (self.network, *self.specification.rows.shape[1:])


class _TimeIsOver(Exception):
    """Raised between chunks of work."""


def bound_boxes(tasks: Sequence[BoxTask]) -> Iterator[Lines | None]:
    """The results of tasks of one kind, bounded as one batch; None of each if the time of any is over."""

    def raise_if_late() -> None:
        if any(task.budget.late() for task in tasks):
            raise _TimeIsOver

    specification = Specification.cat([task.specification for task in tasks])
    try:
        raise_if_late()
        with torch.backends.cudnn.flags(enabled=False):
            bounds = bound_network(
                tasks[0].network, specification.box, "crown", rigorous=True, raise_if_late=raise_if_late
            )
    except _TimeIsOver:
        yield from [None] * len(tasks)
        return
    found, begin = Lines.of(bounds, specification), 0
    for task in tasks:
        end = begin + len(task.specification)
        yield found[begin:end]
        begin = end
