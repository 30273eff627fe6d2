"""Rounding to a chosen side, element by element: no number that defines a property is rounded inwards."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def next_below(values: Tensor) -> Tensor:
    """The largest numbers of the same precision below `values`."""
    return torch.nextafter(values, torch.full_like(values, -math.inf))


def next_above(values: Tensor) -> Tensor:
    """The smallest numbers of the same precision above `values`."""
    return torch.nextafter(values, torch.full_like(values, math.inf))


def rounded_down(values: Tensor, dtype: torch.dtype) -> Tensor:
    """The largest numbers of another floating-point type that are not above `values`."""
    near = values.to(dtype)
    return torch.where(near.double() > values.double(), next_below(near), near)


def rounded_up(values: Tensor, dtype: torch.dtype) -> Tensor:
    """The smallest numbers of another floating-point type that are not below `values`."""
    return -rounded_down(-values, dtype)


def sum_below(first: Tensor, second: Tensor) -> Tensor:
    """The largest numbers of the operands' precision that are not above the exact sums, which do not overflow.

    What the sum was rounded by is itself a number of that precision (Knuth's TwoSum; Higham 2002, "Accuracy and
    Stability of Numerical Algorithms", section 4.3).
    """
    total = first + second
    shared = total - first
    lost = (first - (total - shared)) + (second - shared)
    return torch.where(lost < 0, next_below(total), total)


def sum_above(first: Tensor, second: Tensor) -> Tensor:
    """The smallest numbers of the operands' precision that are not below the exact sums."""
    return -sum_below(-first, -second)
