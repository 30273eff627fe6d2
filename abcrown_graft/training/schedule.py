"""Learning-rate factors as functions of the number of finished epochs: nothing to save, nothing to restore."""

from __future__ import annotations

import math


def milestone_factor(epoch: int, milestones: tuple[int, ...], factor: float) -> float:
    """`factor` to the power of the milestones that `epoch` (0-based) has reached."""
    return factor ** sum(epoch >= milestone for milestone in milestones)


def cosine_factor(epoch: int, epochs: int) -> float:
    """Half a cosine from 1 at epoch 0 towards 0 at `epochs` (Loshchilov and Hutter, SGDR, eq. 5, no restarts)."""
    return 0.5 * (1.0 + math.cos(math.pi * epoch / epochs))
