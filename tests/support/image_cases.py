"""Images of a test as cases of its network."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from abcrown_graft.geometry.robustness import Robustness
from abcrown_graft.verify.case import Case, image_cases
from abcrown_graft.verify.problem import Subject


def cases_at(
    subject: Subject,
    images: Tensor,
    labels: Tensor,
    indices: Sequence[int] | None = None,
    robustness: Robustness | float = 0.1,
) -> list[Case]:
    """Robust classification of images; they are counted from 0 if they have no numbers, and a number is a radius."""
    wanted = robustness if isinstance(robustness, Robustness) else Robustness(robustness)
    numbers = range(len(images)) if indices is None else indices
    return list(image_cases(images, labels, numbers, wanted, math.prod(subject.exact.output.shape)))
