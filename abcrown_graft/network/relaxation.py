"""Linear relaxations of activations: two lines that enclose the function on an interval."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Relaxation:
    """Slopes and intercepts of the enclosing lines, each `(batch, *neurons)`.

    For every z in [l, u]: `lower_slope * z + lower_intercept <= f(z) <= upper_slope * z + upper_intercept`.
    """

    lower_slope: Tensor
    lower_intercept: Tensor
    upper_slope: Tensor
    upper_intercept: Tensor

    def __getitem__(self, images: Tensor) -> Relaxation:
        """The relaxation of some images of the batch."""
        return Relaxation(*(lines[images] for lines in vars(self).values()))
