"""A box of pixels in the units of a network that takes normalised inputs."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache

import torch
from torch import Tensor

from abcrown_graft.formats.vnnlib.rounding import above, below
from abcrown_graft.geometry.box import Box


def normalized_box(box: Box, mean: Tensor, std: Tensor) -> Box:
    """All `(x - mean) / std` for x in a float64 box, in float64: exact quotients, rounded outwards.

    Args:
        box: `(batch, *shape)`, finite.
        mean, std: positive standard deviations; both broadcast to `shape`.
    """
    return Box(_quotients(box.lower, mean, std, below), _quotients(box.upper, mean, std, above))


def _quotients(bounds: Tensor, mean: Tensor, std: Tensor, rounded: Callable[[Fraction], float]) -> Tensor:
    @cache
    def quotient(value: float, mean: float, std: float) -> float:
        return rounded((Fraction(value) - Fraction(mean)) / Fraction(std))

    operands = (tensor.double().expand_as(bounds).flatten().tolist() for tensor in (bounds, mean, std))
    found = [quotient(*numbers) for numbers in zip(*operands, strict=True)]
    return torch.tensor(found, dtype=torch.float64, device=bounds.device).view_as(bounds)
