"""Linear relaxations of activations: two lines that enclose the function on an interval.

For every z in [l, u]: `lower_slope * z + lower_intercept <= f(z) <= upper_slope * z + upper_intercept`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

import torch
from torch import Tensor

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.geometry.box import Box
from abcrown_graft.network import operators as op


@dataclass(frozen=True, eq=False)
class Relaxation:
    """Slopes and intercepts of the enclosing lines, each `(batch, *neurons)`."""

    lower_slope: Tensor
    lower_intercept: Tensor
    upper_slope: Tensor
    upper_intercept: Tensor

    def __getitem__(self, images: Tensor) -> Relaxation:
        """The relaxation of some images of the batch."""
        return Relaxation(*(lines[images] for lines in vars(self).values()))


@singledispatch
def relax(operator: op.Activation, z: Box) -> Relaxation:
    """The relaxation of an activation on the box of its inputs.

    A neuron that is stable on the box gets its exact line.
    """
    raise UnsupportedError(f"activation {type(operator).__name__} has no linear relaxation")


@relax.register
def _(operator: op.ReLU, z: Box) -> Relaxation:
    return _hinge(z, 0.0)


@relax.register
def _(operator: op.LeakyReLU, z: Box) -> Relaxation:
    return _hinge(z, operator.negative_slope)


@relax.register
def _(operator: op.GraftedReLU, z: Box) -> Relaxation:
    hinge = _hinge(z, 0.0)
    return Relaxation(
        torch.where(operator.mask, operator.slope, hinge.lower_slope),
        torch.where(operator.mask, operator.intercept, hinge.lower_intercept),
        torch.where(operator.mask, operator.slope, hinge.upper_slope),
        torch.where(operator.mask, operator.intercept, hinge.upper_intercept),
    )


def _hinge(z: Box, slope: float) -> Relaxation:
    """`max(z, slope * z)`: the chord above, the line of the wider side below.

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
