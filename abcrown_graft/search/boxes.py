"""Boxes of inputs that a search has not decided: halved, clipped, and kept on a stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from abcrown_graft.geometry.box import Box
from abcrown_graft.geometry.rounding import next_above


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes of one instance, in float64.

    Attributes:
        lower, upper: ends, `(n, inputs)`.
        clauses: bounds of the clauses that hold on each box in real arithmetic, `(n, clauses)`: positive ones are
            proved; -inf where nothing is known, never NaN or inf.
        axis: which input is to be halved next, `(n,)`; -1 if none can be.
    """

    lower: Tensor
    upper: Tensor
    clauses: Tensor
    axis: Tensor

    def __len__(self) -> int:
        return len(self.lower)

    def __getitem__(self, index: Tensor | slice) -> Boxes:
        return Boxes(self.lower[index], self.upper[index], self.clauses[index], self.axis[index])

    @property
    def worst(self) -> Tensor:
        """The smallest clause of each box, `(n,)`."""
        return self.clauses.amin(1)

    @classmethod
    def cat(cls, parts: Sequence[Boxes]) -> Boxes:
        """All boxes of several batches."""
        return cls(*(torch.cat([vars(part)[name] for part in parts]) for name in ("lower", "upper", "clauses", "axis")))


class BoxStack:
    """A stack of batches: the smallest boxes come first, among them those of the smallest bound.

    The search is depth first: no more batches wait than the deepest box has been halved.
    """

    def __init__(self) -> None:
        self._parts: list[Boxes] = []

    def __bool__(self) -> bool:
        return bool(self._parts)

    @property
    def lowest(self) -> float:
        """The smallest bound; infinite if nothing is open."""
        return min((float(part.worst.min()) for part in self._parts), default=float("inf"))

    def push(self, boxes: Boxes) -> None:
        """Adds boxes."""
        if len(boxes):
            self._parts.append(boxes[boxes.worst.argsort(descending=True)])

    def take(self, room: int) -> Boxes:
        """Removes the next boxes, `room` at most; the stack is not empty."""
        parts = []
        while self._parts and room > 0:
            part = self._parts.pop()
            if len(part) > room:
                keep = len(part) - room
                self._parts.append(part[:keep])
                part = part[keep:]
            parts.append(part)
            room -= len(part)
        return Boxes.cat(parts)


def middle(lower: Tensor, upper: Tensor) -> Tensor:
    """Where an interval is halved."""
    return lower / 2 + upper / 2


def can_be_halved(lower: Tensor, upper: Tensor) -> Tensor:
    """Boolean: whether there is a number between the ends to halve at."""
    centre = middle(lower, upper)
    return (lower < centre) & (centre < upper)


def halved(boxes: Boxes) -> tuple[Tensor, Tensor]:
    """Ends of the halves, `(2 * n, inputs)`, those of one box one after the other.

    Both halves have the very same number as their new end, so that together they are the box.
    """
    lower, upper = (ends.repeat_interleave(2, 0) for ends in (boxes.lower, boxes.upper))
    row = torch.arange(len(boxes), device=lower.device)
    centre = middle(boxes.lower, boxes.upper)[row, boxes.axis]
    upper[2 * row, boxes.axis] = centre
    lower[2 * row + 1, boxes.axis] = centre
    return lower, upper


def clipped(lower: Tensor, upper: Tensor, coefficients: Tensor, literals: Tensor, proved: Tensor) -> Box:
    """Smaller boxes that still hold every point at which the property fails; where they are empty, it fails nowhere.

    At distance t along input i from the end where its line is smallest, a literal of minimum b is at least
    `b + |a_i| t`: positive from `t = -b / |a_i|` on. A clause fails only where none of its literals is positive, in
    the intersection of what they leave; the property fails only where a clause does, in what spans these.
    Reference: Zhou et al. 2025, "Clip-and-Verify", relaxed clipping.

    Args:
        lower, upper: ends, `(n, inputs)`.
        coefficients: of the literals' lines, `(n, clauses, literals, inputs)`.
        literals: their minima, `(n, clauses, literals)`, true in real arithmetic; what is not finite says nothing.
        proved: the clauses that fail nowhere, `(n, clauses)`.

    Returns:
        Ends `(n, inputs)`, rounded outwards.
    """
    low, high = lower[:, None, None], upper[:, None, None]
    reach = next_above(-literals.unsqueeze(3) / coefficients.abs())
    usable = coefficients.isfinite() & literals.isfinite().unsqueeze(3)
    above = torch.where(usable & (coefficients > 0), torch.minimum(next_above(low + reach), high), high).amin(2)
    below = torch.where(usable & (coefficients < 0), torch.maximum(-next_above(reach - high), low), low).amax(2)
    fails_nowhere = proved.unsqueeze(2)
    return Box(
        torch.where(fails_nowhere, torch.inf, below).amin(1), torch.where(fails_nowhere, -torch.inf, above).amax(1)
    )
