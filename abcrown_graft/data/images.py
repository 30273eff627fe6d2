"""Labelled images in memory, checked once when they are made."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from abcrown_graft.errors import DataError
from abcrown_graft.geometry.box import Box
from abcrown_graft.geometry.rounding import next_above, next_below

BYTE_LEVELS = 255


@dataclass(frozen=True, eq=False)
class ImageData:
    """One split of a data set.

    Attributes:
        name: of the data set, as in `data.dataset`.
        split: "train" or "test".
        images: `(n, channels, height, width)`, float32 in [0, 1], not normalised, on the CPU.
        labels: `(n,)`, int64 in 0..num_classes - 1.
        num_classes: number of classes of the whole data set.
        targets: class to beat in each image `(n,)`, for `specification.robustness_type: specify-target`.
        lower, upper: bounds of the pixels `(n, channels, height, width)`, for `specification.type: box`.
        levels: the pixels are whole numbers divided by this one, and `images` the nearest float32; None: they are not.
        pixels: the images before they were rounded to float32, in float64; None: they were not rounded, or `levels`
            says what they were.

    Raises:
        DataError: no images, a wrong shape or type, a NaN, infinite or out-of-range pixel or label,
            or as many labels as there are not images; a target that is the label; bounds that are not finite,
            are crossed, or do not come as a pair; pixels of other images.
    """

    name: str
    split: str
    images: Tensor
    labels: Tensor
    num_classes: int
    targets: Tensor | None = None
    lower: Tensor | None = None
    upper: Tensor | None = None
    levels: int | None = None
    pixels: Tensor | None = None

    def __post_init__(self) -> None:
        where = f"{self.name} {self.split}"
        _check_form(self.images, self.labels, where)
        _check_pixels(self.images, where)
        check_labels(self.labels, self.num_classes, where)
        _check_targets(self, where)
        _check_bounds(self, where)
        if self.pixels is not None and not torch.equal(self.pixels.to(torch.float32), self.images):
            raise DataError(f"{where}: the images are not the float32 numbers nearest to their pixels")

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def fingerprint(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of shape, pixels, labels and what else there is."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        digest.update(np.ascontiguousarray(self.images.detach().cpu().numpy(), dtype="<f4").data)
        digest.update(np.ascontiguousarray(self.labels.cpu().numpy(), dtype="<i8").data)
        for name in ("targets", "lower", "upper", "pixels"):
            if (values := getattr(self, name)) is not None:
                digest.update(name.encode() + np.ascontiguousarray(values.cpu().numpy(), dtype="<f8").tobytes())
        return digest.hexdigest()[:16]

    def select(self, indices: Sequence[int] | Tensor) -> ImageData:
        """The images at `indices` (integers from 0, any order, repeats allowed), in that order.

        Raises:
            DataError: no index, an index that is not an integer, or one outside 0..n - 1.
        """
        chosen = torch.as_tensor(indices)
        if chosen.ndim != 1 or len(chosen) == 0:
            raise DataError(f"{self.name} {self.split}: no image selected; give a list of one index or more")
        if chosen.is_floating_point() or chosen.dtype == torch.bool:
            raise DataError(f"{self.name} {self.split}: image indices must be integers, not {chosen.dtype}")
        outside = chosen[(chosen < 0) | (chosen >= len(self))]
        if len(outside):
            raise DataError(f"{self.name} {self.split}: no image {int(outside[0])}; there are 0..{len(self) - 1}")
        names = ("images", "labels", "targets", "lower", "upper", "pixels")
        present = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return replace(self, **{name: values[chosen.long()] for name, values in present.items()})

    def readings(self, indices: Sequence[int]) -> Box:
        """Boxes `(len(indices), channels, height, width)` in float64 that hold the pixels before they were rounded.

        Made for each batch: of bytes or float32, float64 would double the memory.
        """
        at = torch.as_tensor(list(indices))
        if self.levels is not None:
            near = (self.images[at].double() * self.levels).round() / self.levels
            return Box(next_below(near), next_above(near))
        exact = (self.images if self.pixels is None else self.pixels)[at].double()
        return Box(exact, exact)


def pixels_from_bytes(values: np.ndarray) -> Tensor:
    """Maps bytes 0..255 to float32 `value / BYTE_LEVELS`, correctly rounded, in memory of its own."""
    return torch.from_numpy(np.divide(values, np.float32(BYTE_LEVELS), order="C", dtype=np.float32))


def check_labels(labels: Tensor, num_classes: int, where: str) -> None:
    """Refuses a label outside 0..num_classes - 1.

    Args:
        labels: `(n,)` integers.
        num_classes: at least 1.
        where: file or data set, to begin the message with.

    Raises:
        DataError: the first such label, with its index.
    """
    outside = torch.nonzero((labels < 0) | (labels >= num_classes)).flatten()
    if len(outside):
        index = int(outside[0])
        raise DataError(f"{where}: label {int(labels[index])} of image {index} is outside 0..{num_classes - 1}")


def _check_form(images: Tensor, labels: Tensor, where: str) -> None:
    shape = tuple(images.shape)
    if images.dtype != torch.float32 or labels.dtype != torch.int64:
        raise DataError(f"{where}: images must be float32 and labels int64, not {images.dtype} and {labels.dtype}")
    if images.ndim != 4:
        raise DataError(f"{where}: images have shape {shape}, expected (n, channels, height, width)")
    if labels.ndim != 1:
        raise DataError(f"{where}: labels have shape {tuple(labels.shape)}, expected (n,)")
    if len(images) != len(labels):
        raise DataError(f"{where}: {len(images)} images but {len(labels)} labels")
    if images.numel() == 0:
        raise DataError(f"{where}: images of shape {shape} are empty")


def _check_targets(data: ImageData, where: str) -> None:
    if data.targets is None:
        return
    if data.targets.shape != data.labels.shape or data.targets.dtype != torch.int64:
        raise DataError(f"{where}: target_label has shape {tuple(data.targets.shape)}, not ({len(data)},) integers")
    check_labels(data.targets, data.num_classes, f"{where}: target_label")
    same = (data.targets == data.labels).nonzero().flatten()
    if len(same):
        raise DataError(f"{where}: target_label of image {int(same[0])} is its label {int(data.labels[same[0]])}")


def _check_bounds(data: ImageData, where: str) -> None:
    if data.lower is None and data.upper is None:
        return
    if data.lower is None or data.upper is None:
        raise DataError(f"{where}: of data_min and data_max only one is given; give both")
    for name, values in (("data_min", data.lower), ("data_max", data.upper)):
        if values.shape != data.images.shape:
            expected = tuple(data.images.shape)
            raise DataError(f"{where}: {name} has shape {tuple(values.shape)}, expected that of the images, {expected}")
        if not bool(torch.isfinite(values).all()):
            raise DataError(f"{where}: {name} has a NaN or infinite value")
    crossed = (data.lower > data.upper).flatten(1).any(1).nonzero().flatten()
    if len(crossed):
        raise DataError(f"{where}: data_min is above data_max in image {int(crossed[0])}")


def _check_pixels(images: Tensor, where: str) -> None:
    low, high = torch.aminmax(images)
    if 0 <= low <= high <= 1:  # a NaN anywhere makes both NaN
        return
    flat = images.flatten(1)
    bad = ~((flat >= 0) & (flat <= 1))
    index = int(torch.nonzero(bad.any(dim=1))[0])
    value = float(flat[index][bad[index]][0])
    raise DataError(
        f"{where}: image {index} has a pixel of value {value:g}, outside [0, 1]; "
        "give pixels as they are and leave normalisation to data.mean and data.std"
    )
