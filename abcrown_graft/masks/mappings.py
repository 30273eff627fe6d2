"""Mappings of raw scores to [0, 1], which make instability and significance comparable.

Each takes a flat float64 tensor `(neurons,)` of finite values and returns one of the same shape in
[0, 1], monotone in the input. Equal inputs get equal outputs, except from `ordinal` and `argsort`,
which rank ties by position. Constant input gives zeros. A value that is not finite is refused with a
DataError. The names are those of the reproduction study (Brandis 2023).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING

from abcrown_graft.errors import DataError
from abcrown_graft.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

ScoreMapping = Callable[["Tensor"], "Tensor"]

MAPPINGS: Registry[ScoreMapping] = Registry("score mapping")


def _file(name: str, help: str) -> Callable[[ScoreMapping], ScoreMapping]:
    """Registers a mapping behind the checks that all of them share."""

    def register(mapping: ScoreMapping) -> ScoreMapping:
        @MAPPINGS.register(name, help=help)
        @wraps(mapping)
        def checked(flat: Tensor) -> Tensor:
            flat = flat.double()
            if flat.numel() == 0:
                return flat
            low, high = float(flat.min()), float(flat.max())
            if not math.isfinite(high - low):
                raise DataError(f"scores range from {low} to {high}; only finite scores can be mapped to [0, 1]")
            return flat.new_zeros(flat.shape) if low == high else mapping(flat)

        return checked

    return register


@_file("norank", "scaled")
def norank(flat: Tensor) -> Tensor:
    """(x − min x) / (max x − min x) of the raw values."""
    low, high = flat.min(), flat.max()
    return (flat - low) / (high - low)


@_file("min", "ranks, ties share the lowest")
def minimum_rank(flat: Tensor) -> Tensor:
    """The rank, ties sharing the lowest rank of their group; scaled to [0, 1]."""
    return _rank(flat, "min")


@_file("dense", "ranks among the distinct values")
def dense_rank(flat: Tensor) -> Tensor:
    """The rank among the distinct values; scaled to [0, 1]."""
    return _rank(flat, "dense")


@_file("ordinal", "ranks, ties by position")
def ordinal_rank(flat: Tensor) -> Tensor:
    """The rank, ties ranked by position; scaled to [0, 1]."""
    return _rank(flat, "ordinal")


@_file("argsort", "positions when sorted, as ordinal")
def argsort_position(flat: Tensor) -> Tensor:
    """The position in the stable ascending sort, divided by (neurons − 1); equals `ordinal`."""
    import torch

    positions = torch.empty_like(flat)
    positions[flat.argsort(stable=True)] = torch.arange(flat.numel(), dtype=flat.dtype, device=flat.device)
    return positions / (flat.numel() - 1)


def _rank(flat: Tensor, method: str) -> Tensor:
    from scipy.stats import rankdata

    ranks = flat.new_tensor(rankdata(flat.cpu().numpy(), method=method))
    return norank(ranks)
