"""Boxes: element-wise lower and upper bounds, batched."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from abcrown_graft.geometry.rounding import rounded_down, rounded_up


@dataclass(frozen=True, eq=False)
class Box:
    """All tensors between `lower` and `upper`, element by element; both `(batch, *shape)`."""

    lower: Tensor
    upper: Tensor

    @classmethod
    def hull(cls, first: Tensor, second: Tensor) -> Box:
        """The smallest box that holds two tensors, `(batch, *shape)`."""
        return cls(torch.minimum(first, second), torch.maximum(first, second))

    def __len__(self) -> int:
        return len(self.lower)

    def __getitem__(self, index: Tensor | slice) -> Box:
        return Box(self.lower[index], self.upper[index])

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Box:
        """The same box elsewhere, or the smallest one in another precision that holds it."""
        lower, upper = self.lower.to(device=device), self.upper.to(device=device)
        return Box(lower, upper) if dtype is None else Box(rounded_down(lower, dtype), rounded_up(upper, dtype))

    def clamp(self, points: Tensor) -> Tensor:
        """The nearest points inside; `points` broadcasts against the bounds."""
        return torch.minimum(torch.maximum(points, self.lower), self.upper)

    def unstable(self) -> Tensor:
        """Boolean: where the interval has zero strictly inside (NaN counts as unstable)."""
        return ~((self.lower >= 0) | (self.upper <= 0))
