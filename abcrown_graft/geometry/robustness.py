"""Local robustness of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from abcrown_graft.geometry.box import Box
from abcrown_graft.geometry.specification import Specification


@dataclass(frozen=True, eq=False)
class Robustness:
    """Local robustness, as `specification.type` and `specification.robustness_type` say.

    Attributes:
        epsilon: radius of the ℓ∞ ball, cut to pixels of [0, 1]; None where bounds are given.
        kind: "verified-acc" (the label beats every other class), "runnerup" (only the class that is likeliest on
            the clean image but for the label, see `nearest`), "specify-target" (that of `targets`), "clean-acc" (at
            the image itself), or "all-positive" (every output is positive, whatever the label).
        targets: class to beat by the number of the image, `(n,)`.
        lower, upper: bounds by the number of the image, `(n, *shape)`.

    Raises:
        ValueError: neither a radius nor bounds, or no targets where they are to be beaten.
    """

    epsilon: float | None
    kind: str = "verified-acc"
    targets: Tensor | None = None
    lower: Tensor | None = None
    upper: Tensor | None = None

    def __post_init__(self) -> None:
        if self.kind != "clean-acc" and self.epsilon is None and (self.lower is None or self.upper is None):
            raise ValueError("robustness needs a radius, epsilon, or the bounds lower and upper")
        if self.kind == "specify-target" and self.targets is None:
            raise ValueError("robustness against given targets needs targets")

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
        return Specification(self._box(images.double(), indices), rows, rows.new_zeros(rows.shape[:3]))

    def _box(self, images: Tensor, indices: Sequence[int]) -> Box:
        if self.kind == "clean-acc":
            return Box(images, images)
        if self.lower is None or self.upper is None:
            assert self.epsilon is not None
            return linf_box(images, self.epsilon)
        at = torch.as_tensor(list(indices))
        return Box(self.lower[at].to(images), self.upper[at].to(images))

    def _rows(self, labels: Tensor, indices: Sequence[int], outputs: int) -> Tensor:
        if self.kind == "all-positive":
            return torch.eye(outputs, dtype=torch.float64, device=labels.device).expand(len(labels), -1, -1)
        every = robustness_rows(labels, outputs, torch.float64)
        if self.kind != "specify-target":
            return every
        assert self.targets is not None
        target = self.targets[torch.as_tensor(list(indices))].to(labels)
        row = target - (target > labels).long()
        return every[torch.arange(len(labels), device=labels.device), row].unsqueeze(1)


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
