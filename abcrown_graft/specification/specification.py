"""A batch of properties: boxes of inputs, and clauses that must hold for every output of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from abcrown_graft.bounds.box import Box
from abcrown_graft.bounds.propagate import NetworkBounds, margin_lower_bounds, margin_lower_lines


@dataclass(frozen=True, eq=False)
class Specification:
    """Properties of a batch of instances, in conjunctive normal form.

    A property holds if at every input of the box each clause has a literal that is positive. A
    counterexample makes all literals of some clause zero or negative: the unsafe outputs are in disjunctive
    normal form, as in VNN-LIB. Shorter clauses are filled up by repeating a literal, fewer clauses by
    repeating a clause.

    Attributes:
        box: of inputs, `(batch, *shape)`.
        rows: literals as linear functions of the output, `(batch, clauses, literals, outputs)`.
        offsets: their constants, `(batch, clauses, literals)`.
    """

    box: Box
    rows: Tensor
    offsets: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, positions: Tensor | slice) -> Specification:
        return Specification(self.box[positions], self.rows[positions], self.offsets[positions])

    @classmethod
    def cat(cls, parts: Sequence[Specification]) -> Specification:
        """All instances of several specifications of the same numbers of clauses and literals."""
        box = Box(torch.cat([part.box.lower for part in parts]), torch.cat([part.box.upper for part in parts]))
        return cls(box, torch.cat([part.rows for part in parts]), torch.cat([part.offsets for part in parts]))

    def to(self, dtype: torch.dtype) -> Specification:
        """The same in another precision."""
        return Specification(self.box.to(dtype=dtype), self.rows.to(dtype), self.offsets.to(dtype))

    def values(self, outputs: Tensor) -> Tensor:
        """The clauses `(batch, points, clauses)` at outputs `(batch, points, outputs)` of each instance."""
        literals = torch.einsum("bclo,bno->bncl", self.rows.to(outputs), outputs)
        return (literals + self.offsets.to(outputs).unsqueeze(1)).amax(3)

    def margins(self, outputs: Tensor) -> Tensor:
        """The smallest clause of each instance at its outputs `(batch, outputs)`, in float64; infinite where NaN."""
        return torch.nan_to_num(self.values(outputs.double().unsqueeze(1)).squeeze(1).amin(1), nan=math.inf)


Specify = Callable[[Tensor, Tensor, Sequence[int], Tensor], Specification]
"""From images `(batch, *shape)`, labels `(batch,)`, their numbers, and the model's outputs on the clean images
`(batch, outputs)` to what is to be proved, in float64."""


def literal_lower_bounds(bounds: NetworkBounds, specification: Specification, method: str) -> Tensor:
    """Lower bounds of the literals, `(batch, clauses, literals)`; rigorous if `bounds` are.

    Args:
        bounds: of the specification's boxes.
        specification: in the precision of the bounds.
        method: see `margin_lower_bounds`.
    """
    return _with_offsets(margin_lower_bounds(bounds, specification.rows.flatten(1, 2), method), specification)


def literal_lower_lines(bounds: NetworkBounds, specification: Specification) -> tuple[Tensor, Tensor]:
    """Linear functions of the flattened input below the literals, and their minima.

    Args:
        bounds, specification: as in `literal_lower_bounds`.

    Returns:
        Coefficients `(batch, clauses, literals, inputs)` and lower bounds `(batch, clauses, literals)`; what they
        mean is said at `margin_lower_lines`.
    """
    coefficients, found = margin_lower_lines(bounds, specification.rows.flatten(1, 2))
    return coefficients.reshape(*specification.offsets.shape, -1), _with_offsets(found, specification)


def _with_offsets(found: Tensor, specification: Specification) -> Tensor:
    """Bounds `(batch, clauses * literals)` of linear functions as bounds of the literals."""
    found = found.view(specification.offsets.shape)
    below = torch.nextafter(found + specification.offsets, torch.full_like(found, -math.inf))
    return torch.where(specification.offsets == 0, found, below)
