"""Local robustness of a classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from abcrown_graft.geometry.box import Box
from abcrown_graft.geometry.rounding import next_above, sum_above, sum_below
from abcrown_graft.geometry.specification import Specification

Readings = Callable[[Sequence[int]], Box]
"""From numbers of images to boxes `(batch, *shape)` in float64 that hold what their files say of their pixels."""


@dataclass(frozen=True, eq=False)
class Robustness:
    """Local robustness, as `specification.type` and `specification.robustness_type` say.

    A pixel is a real number: k/255 of a byte k, or the number in the user's array. The model is given the float32
    nearest to it. The property is proved for both, and for every real number between them: `box` holds every x' in
    [0, 1] that is within the radius of any of them. A counterexample lies within the radius of all of them, in
    `inner`, or is the image that the model is given. The radius is any decimal that the float64 `epsilon` is nearest
    to in `box`, and `epsilon` itself in `inner`. `box` exceeds the exact ball around k/255 by half a unit in the last
    place of float32, and that around the pixel of a float32 array by two units of float64.

    Attributes:
        epsilon: radius of the ℓ∞ ball, cut to pixels of [0, 1]; None where bounds are given.
        kind: "verified-acc" (the label beats every other class), "runnerup" (only the class that is likeliest on
            the clean image but for the label, see `nearest`), "specify-target" (that of `targets`), "clean-acc" (at
            the image itself), or "all-positive" (every output is positive, whatever the label).
        targets: class to beat by the number of the image, `(n,)`.
        lower, upper: bounds by the number of the image, `(n, *shape)`, exact as they are.
        readings: of the pixels before they were rounded to float32; None where they were not.

    Raises:
        ValueError: neither a radius nor bounds, a negative radius, crossed bounds, or no targets where they are to be
            beaten; when called, a label or target that is no class, or a target that is the label.
    """

    epsilon: float | None
    kind: str = "verified-acc"
    targets: Tensor | None = None
    lower: Tensor | None = None
    upper: Tensor | None = None
    readings: Readings | None = None

    def __post_init__(self) -> None:
        if self.kind != "clean-acc" and self.epsilon is None and (self.lower is None or self.upper is None):
            raise ValueError("robustness needs a radius, epsilon, or the bounds lower and upper")
        if self.kind == "specify-target" and self.targets is None:
            raise ValueError("robustness against given targets needs targets")
        if self.epsilon is not None and not self.epsilon >= 0:
            raise ValueError(f"robustness needs a radius of at least 0, not {self.epsilon}")
        if self.lower is not None and self.upper is not None and not bool((self.lower <= self.upper).all()):
            raise ValueError("robustness needs lower bounds that are nowhere above the upper bounds")

    @property
    def nearest(self) -> bool:
        """Whether only the clause counts that is smallest at the clean image, see `Specification.nearest`."""
        return self.kind == "runnerup"

    def __call__(self, images: Tensor, labels: Tensor, indices: Sequence[int], outputs: int) -> Specification:
        """What is to be proved, in float64; of "runnerup" every clause that may count.

        Args:
            images, labels: `(batch, *shape)` pixels in [0, 1], and classes `(batch,)`.
            indices: the data set's number of each image.
            outputs: how many the model has.
        """
        rows = self._rows(labels, indices, outputs).unsqueeze(2)
        box, inner = self._boxes(images.double(), indices)
        return Specification(box, rows, rows.new_zeros(rows.shape[:3]), inner)

    def _boxes(self, images: Tensor, indices: Sequence[int]) -> tuple[Box, Box]:
        """What is proved, and where counterexamples lie, of float32 images in float64."""
        point = Box(images, images)
        if self.kind == "clean-acc":
            return self._pixels(point, indices), point
        if self.lower is None or self.upper is None:
            assert self.epsilon is not None
            return _ball(self._pixels(point, indices), point, self.epsilon)
        at = torch.as_tensor(list(indices))
        given = Box(self.lower[at].to(images), self.upper[at].to(images))
        return given, given

    def _pixels(self, point: Box, indices: Sequence[int]) -> Box:
        """The numbers that the pixels of images may stand for, those that the model is given among them."""
        if self.readings is None:
            return point
        read = self.readings(indices).to(point.lower.device)
        return Box(torch.minimum(read.lower, point.lower), torch.maximum(read.upper, point.upper))

    def _rows(self, labels: Tensor, indices: Sequence[int], outputs: int) -> Tensor:
        if self.kind == "all-positive":
            return torch.eye(outputs, dtype=torch.float64, device=labels.device).expand(len(labels), -1, -1)
        _check_classes("label", labels, outputs)
        every = robustness_rows(labels, outputs, torch.float64)
        if self.kind != "specify-target":
            return every
        assert self.targets is not None
        target = self.targets[torch.as_tensor(list(indices))].to(labels)
        _check_classes("target", target, outputs)
        if bool((same := target == labels).any()):
            raise ValueError(f"the target {int(target[same][0])} is the label of the image itself")
        row = target - (target > labels).long()
        return every[torch.arange(len(labels), device=labels.device), row].unsqueeze(1)


def _check_classes(name: str, numbers: Tensor, classes: int) -> None:
    """Raises ValueError unless all are in 0..classes - 1: a negative one would be counted from the end."""
    outside = numbers[(numbers < 0) | (numbers >= classes)]
    if len(outside):
        raise ValueError(f"the {name} {int(outside[0])} is none of the {classes} classes")


def _ball(pixels: Box, point: Box, epsilon: float) -> tuple[Box, Box]:
    """All of [0, 1] within a decimal radius of any of the pixels, and what is within `epsilon` of all of them.

    Args:
        pixels: in float64, the point among them.
        point: it is in both results; where it is not within `epsilon` of all pixels, the second one is the point alone.
        epsilon: the float64 nearest to the radius.
    """
    inner = torch.tensor(epsilon, dtype=torch.float64, device=pixels.lower.device)
    outer = next_above(inner)
    largest = Box(sum_below(pixels.lower, -outer).clamp(0, 1), sum_above(pixels.upper, outer).clamp(0, 1))
    smallest = Box(sum_above(pixels.upper, -inner).clamp(0, 1), sum_below(pixels.lower, inner).clamp(0, 1))
    near = (smallest.lower <= point.lower) & (point.upper <= smallest.upper)
    lower, upper = torch.where(near, smallest.lower, point.lower), torch.where(near, smallest.upper, point.upper)
    return largest, Box(lower, upper)


def linf_box(images: Tensor, epsilon: float) -> Box:
    """All valid images (pixels in [0, 1]) within `epsilon` of `images`, about: in their precision, to nearest.

    For training, scores and attacks. What is proved holds on the box of `Robustness`, which is rounded outwards.
    """
    return Box((images - epsilon).clamp(0, 1), (images + epsilon).clamp(0, 1))


def robustness_rows(labels: Tensor, outputs: int, dtype: torch.dtype) -> Tensor:
    """Margins of the true class over every other, `(batch, outputs - 1, outputs)`.

    Row j of image i maps the output y to `y[label_i] - y[j']`; all must be positive.

    Args:
        labels: true classes, `(batch,)`.
        outputs: number of classes.
        dtype: of the rows.
    """
    unit = torch.eye(outputs, dtype=dtype, device=labels.device)
    others = torch.arange(outputs - 1, device=labels.device).expand(len(labels), -1)
    others = others + (others >= labels.unsqueeze(1))
    return unit[labels].unsqueeze(1) - unit[others]
