"""Candidate counterexamples: moved into the box, and judged by the original model."""

from __future__ import annotations

import torch
from torch import Tensor

from abcrown_graft.verify.problem import Batch


def inside_box(batch: Batch, positions: list[int], points: Tensor) -> Tensor:
    """The points in the model's precision: clipped to the float64 box, then rounded towards its inside.

    A box that holds a number of that precision (an image's ball holds the image) holds the neighbour of
    one that was rounded out of it. Of other boxes, `fools_alone` refuses what is outside.
    """
    box = batch.specification.box[torch.tensor(positions)]
    rounded = box.clamp(points.double()).to(batch.inputs.dtype)
    above, below = torch.full_like(rounded, torch.inf), torch.full_like(rounded, -torch.inf)
    low = torch.where(rounded.double() < box.lower, torch.nextafter(rounded, above), rounded)
    return torch.where(low.double() > box.upper, torch.nextafter(low, below), low)


def fools_alone(batch: Batch, k: int, point: Tensor) -> bool:
    """Whether the point is in the box of instance `k`, and the original model, given it by itself, violates a clause.

    In float32 a model's output can depend on what else is in the batch; a counterexample must stand alone.
    """
    specification = batch.specification[k : k + 1]
    box, exact = specification.box, point.double().unsqueeze(0)
    if not bool(((exact >= box.lower) & (exact <= box.upper)).all()):
        return False
    with torch.no_grad():
        margin = specification.margins(batch.subject.module(point.unsqueeze(0)))
    return bool(margin[0] <= 0)
