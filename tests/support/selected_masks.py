"""Masks selected with settings written as keywords."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from abcrown_graft.masks import selection
from abcrown_graft.masks.options import MaskSettings


def select_mask(
    instability: Mapping[str, Tensor],
    significance: Mapping[str, Tensor] | None,
    ratio: float,
    preset: str = "paper",
    **settings: Any,
) -> dict[str, Tensor]:
    """`selection.select_mask` with `MaskSettings(ratio=ratio, preset=preset, **settings)`."""
    return selection.select_mask(instability, significance, MaskSettings(ratio=ratio, preset=preset, **settings))
