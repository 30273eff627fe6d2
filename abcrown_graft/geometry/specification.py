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
        """All instances of several specifications, filled up to the largest numbers of clauses and literals."""
        box = Box(torch.cat([part.box.lower for part in parts]), torch.cat([part.box.upper for part in parts]))
        clauses, literals = (max(part.offsets.shape[axis] for part in parts) for axis in (1, 2))
        filled = [part._filled(clauses, literals) for part in parts]
        return cls(box, torch.cat([part.rows for part in filled]), torch.cat([part.offsets for part in filled]))

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
        """The same in another precision."""
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
