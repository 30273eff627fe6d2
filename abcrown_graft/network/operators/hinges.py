"""Lines and slopes of `max(z, slope * z)` for a slope in [0, 1]."""

from __future__ import annotations

import torch

from abcrown_graft.geometry.box import Box
from abcrown_graft.network.relaxation import Relaxation


def hinge_lines(z: Box, slope: float) -> Relaxation:
    """The chord above, the line of the wider side below; where z is not unstable, the exact line twice.

    Zhang et al. 2018 (CROWN), Table 2, with the adaptive lower slope; the chord runs through
    (l, slope * l) and (u, u). Halved ends keep u - l finite for all finite ends; where u - l is
    below the normal numbers the chord gives way to the steeper line through (l, slope * l).
    """
    unstable = z.unstable()
    lower, upper = z.lower.clamp(max=0), z.upper.clamp(min=0)
    width = upper / 2 - lower / 2
    tiny = torch.finfo(width.dtype).tiny
    # Clamped too, because a division by zero that is not chosen would still make gradients NaN.
    chord = torch.where(width < tiny, 1.0, (upper / 2 - slope * (lower / 2)) / width.clamp(min=tiny))
    stable_slope = torch.where(z.lower >= 0, torch.ones_like(lower), torch.full_like(lower, slope))
    wider = torch.where(upper > -lower, torch.ones_like(lower), torch.full_like(lower, slope))
    zero = torch.zeros_like(lower)
    return Relaxation(
        torch.where(unstable, wider, stable_slope),
        zero,
        torch.where(unstable, chord, stable_slope),
        torch.where(unstable, (slope - chord) * lower, zero),
    )


def hinge_slopes(z: Box, slope: float) -> Box:
    """The derivatives on an interval."""
    one, other = torch.ones_like(z.lower), torch.full_like(z.lower, slope)
    return Box(torch.where(z.lower >= 0, one, other), torch.where(z.upper > 0, one, other))
