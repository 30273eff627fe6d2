"""A batch of properties: boxes of inputs, and clauses that must hold for every output of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from abcrown_graft.geometry.box import Box


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
        inner: the part of the box in which a violation counts as a counterexample; None: all of it. Where the ends of
            the exact box are no float64, `box` holds all of it, and `inner` nothing else.
    """

    box: Box
    rows: Tensor
    offsets: Tensor
    inner: Box | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, positions: Tensor | slice) -> Specification:
        inner = None if self.inner is None else self.inner[positions]
        return Specification(self.box[positions], self.rows[positions], self.offsets[positions], inner)

    @property
    def inside(self) -> Box:
        """Where counterexamples lie."""
        return self.box if self.inner is None else self.inner

    @classmethod
    def cat(cls, parts: Sequence[Specification]) -> Specification:
        """All instances of several specifications, filled up to the largest numbers of clauses and literals."""
        clauses, literals = (max(part.offsets.shape[axis] for part in parts) for axis in (1, 2))
        filled = [part._filled(clauses, literals) for part in parts]
        rows, offsets = torch.cat([part.rows for part in filled]), torch.cat([part.offsets for part in filled])
        whole = all(part.inner is None for part in parts)
        inner = None if whole else _in_a_row([part.inside for part in parts])
        return cls(_in_a_row([part.box for part in parts]), rows, offsets, inner)

    def _filled(self, clauses: int, literals: int) -> Specification:
        """The same with so many clauses and literals: the last ones are repeated."""
        if self.offsets.shape[1:] == (clauses, literals):
            return self
        clause, literal = (
            torch.arange(wanted, device=self.rows.device).clamp(max=size - 1)
            for wanted, size in zip((clauses, literals), self.offsets.shape[1:], strict=True)
        )
        rows, offsets = (tensor[:, clause][:, :, literal] for tensor in (self.rows, self.offsets))
        return replace(self, rows=rows, offsets=offsets)

    def to(self, dtype: torch.dtype) -> Specification:
        """About the same in another precision, to search in: its box holds this one, rows and offsets are rounded."""
        return Specification(self.box.to(dtype=dtype), self.rows.to(dtype), self.offsets.to(dtype))

    def on(self, device: torch.device | str) -> Specification:
        """The same on another device, with all that it holds."""
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: part.to(device) for name, part in held.items() if part is not None})

    def nearest(self, outputs: Tensor) -> Specification:
        """Of each instance that clause alone which is smallest at its output `(batch, outputs)`."""
        smallest = self.values(outputs.double().unsqueeze(1)).squeeze(1).argmin(1)
        instance = torch.arange(len(self), device=smallest.device)
        rows, offsets = (tensor[instance, smallest].unsqueeze(1) for tensor in (self.rows, self.offsets))
        return replace(self, rows=rows, offsets=offsets)

    def values(self, outputs: Tensor) -> Tensor:
        """The clauses `(batch, points, clauses)` at outputs `(batch, points, outputs)` of each instance."""
        literals = torch.einsum("bclo,bno->bncl", self.rows.to(outputs), outputs)
        return (literals + self.offsets.to(outputs).unsqueeze(1)).amax(3)

    def margins(self, outputs: Tensor) -> Tensor:
        """The smallest clause of each instance at its outputs `(batch, outputs)`, in float64; infinite where NaN."""
        return torch.nan_to_num(self.values(outputs.double().unsqueeze(1)).squeeze(1).amin(1), nan=math.inf)


def _in_a_row(boxes: Sequence[Box]) -> Box:
    return Box(torch.cat([box.lower for box in boxes]), torch.cat([box.upper for box in boxes]))
