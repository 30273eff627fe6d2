"""Candidate counterexamples: moved into the box, and judged by the original model."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from abcrown_graft.verify.problem import Batch
from abcrown_graft.verify.specification import robustness_rows


def inside_box(batch: Batch, positions: list[int], points: Tensor) -> Tensor:
    """The points in the model's precision and in the float64 box: clipped, then rounded towards its inside.

    The box holds the image, which is in the model's precision, so the neighbour of a number that was
    rounded out of the box is inside.
    """
    box = batch.exact_box(positions)
    rounded = box.clamp(points.double()).to(batch.images.dtype)
    low = torch.where(rounded.double() < box.lower, torch.nextafter(rounded, torch.full_like(rounded, 2.0)), rounded)
    return torch.where(low.double() > box.upper, torch.nextafter(low, torch.full_like(low, -1.0)), low)


def fools_alone(batch: Batch, k: int, point: Tensor) -> bool:
    """Whether the original model, given this point by itself, does not put the true class of instance `k` first.

    In float32 a model's output can depend on what else is in the batch; a counterexample must stand alone.
    """
    with torch.no_grad():
        margin = smallest_margin(batch.subject.module(point.unsqueeze(0)), batch.labels[k : k + 1])
    return bool(margin[0] <= 0)


def smallest_margin(outputs: Tensor, labels: Tensor) -> Tensor:
    """How far the true class is ahead of the best other one, `(batch,)`; infinite if that is NaN."""
    rows = robustness_rows(labels, outputs.shape[1], outputs.dtype)
    margins = torch.bmm(rows, outputs.unsqueeze(2)).squeeze(2).amin(1)
    return torch.nan_to_num(margins, nan=math.inf)
