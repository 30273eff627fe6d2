"""Learning-rate factors as functions of progress: nothing to save, nothing to restore.

Progress counts epochs and is fractional within one: 2.5 is the middle of the third epoch.
"""

from __future__ import annotations

import math


def milestone_factor(progress: float, milestones: tuple[int, ...], factor: float) -> float:
    """`factor` to the power of the milestones that `progress` has reached.

    Args:
        progress: in epochs.
        milestones: numbers of finished epochs.
        factor: of each milestone.
    """
    return factor ** sum(progress >= milestone for milestone in milestones)


def cosine_factor(progress: float, epochs: int) -> float:
    """Half a cosine from 1 in the first epoch towards 0 (Loshchilov and Hutter, SGDR, eq. 5), constant in an epoch."""
    return 0.5 * (1.0 + math.cos(math.pi * math.floor(progress) / epochs))


def linear_factor(progress: float, epochs: int) -> float:
    """A straight line from 1 at the start to 0 at `epochs` (Wong et al., *Fast is better than free*, 2020)."""
    return 1.0 - progress / epochs


def ramp(progress: float, start: float, length: float) -> float:
    """0 up to `start`, then a straight line to 1 at `start + length`, then 1 (certified training's epsilon).

    Args:
        progress: in epochs.
        start, length: where the line begins and how long it is, in epochs.
    """
    if progress >= start + length:
        return 1.0
    return max(0.0, (progress - start) / length) if length else 0.0


def warmup_factor(progress: float, warmup: float) -> float:
    """Rises from 0 to 1 over the first `warmup` epochs."""
    return min(1.0, progress / warmup) if warmup else 1.0
