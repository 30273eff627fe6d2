"""What is to be proved of an image: a box of inputs and margins that must stay positive."""

from __future__ import annotations

import torch
from torch import Tensor

from abcrown_graft.bounds.box import Box


def linf_box(images: Tensor, epsilon: float) -> Box:
    """All valid images (pixels in [0, 1]) within `epsilon` of `images`, in their precision."""
    return Box((images - epsilon).clamp(0, 1), (images + epsilon).clamp(0, 1))


def robustness_rows(labels: Tensor, outputs: int, dtype: torch.dtype) -> Tensor:
    """Margins of the true class over every other, `(batch, outputs - 1, outputs)`.

    Row j of image i maps the output y to `y[label_i] - y[j']`; all must be positive.
    """
    unit = torch.eye(outputs, dtype=dtype, device=labels.device)
    others = torch.arange(outputs - 1, device=labels.device).expand(len(labels), -1)
    others = others + (others >= labels.unsqueeze(1))
    return unit[labels].unsqueeze(1) - unit[others]
