"""Candidate counterexamples: moved into the box, and judged by the original model."""

from __future__ import annotations

import torch
from torch import Tensor

from abcrown_graft.geometry.rounding import next_above, next_below
from abcrown_graft.verify.problem import Batch


def inside_box(batch: Batch, positions: list[int], points: Tensor) -> Tensor:
    """The points in the model's precision: clipped to where counterexamples lie, then rounded towards its inside.

    A box that holds a number of that precision (an image's ball holds the image) holds the neighbour of
    one that was rounded out of it. Of other boxes, `fools_alone` refuses what is outside.
    """
    box = batch.specification.inside[torch.tensor(positions)]
    rounded = box.clamp(points.double()).to(batch.inputs.dtype)
    low = torch.where(rounded.double() < box.lower, next_above(rounded), rounded)
    return torch.where(low.double() > box.upper, next_below(low), low)


def fools_alone(batch: Batch, k: int, point: Tensor) -> bool:
    """Whether the point counts as a counterexample of instance `k`, given to the original model by itself.

    It has to lie where they lie (`Specification.inside`), and its output has to violate a clause. In float32 a model's
    output can depend on what else is in the batch; a counterexample must stand alone.
    """
    specification = batch.specification[k : k + 1]
    box, exact = specification.inside, point.double().unsqueeze(0)
    if not bool(((exact >= box.lower) & (exact <= box.upper)).all()):
        return False
    with torch.no_grad():
        margin = specification.margins(batch.subject.module(point.unsqueeze(0)))
    return bool(margin[0] <= 0)
