"""Turns a user's arrays into checked images and labels, refusing what could be meant in two ways."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from abcrown_graft.data.images import ImageData, pixels_from_bytes
from abcrown_graft.errors import DataError

EXTRAS = {"target_label": "targets", "data_min": "lower", "data_max": "upper"}


def image_data_from_arrays(
    name: str,
    split: str,
    images: np.ndarray,
    labels: np.ndarray,
    num_classes: int | None = None,
    extras: Mapping[str, np.ndarray] | None = None,
) -> ImageData:
    """Images `(n, channels, height, width)` and labels `(n,)` or `(n, 1)` as `ImageData`.

    Args:
        name: begins every message.
        split: "train" or "test".
        images: uint8 (divided by 255) or floating point in [0, 1].
        labels: integers from 0.
        num_classes: by default one more than the largest label, the fewest that the labels allow.
        extras: any of `EXTRAS`, α,β-CROWN's words for targets and bounds.

    Raises:
        DataError: another type or shape, or what `ImageData` refuses.
    """
    targets = _labels(labels, f"{name} {split}")
    if num_classes is None:
        num_classes = max(int(targets.max()), 0) + 1 if targets.numel() else 1
    pixels, more = _pixels(images, f"{name} {split}"), {}
    for key, values in (extras or {}).items():
        if key == "target_label":
            more[EXTRAS[key]] = _labels(values, f"{name} {split}: target_label")
        else:
            more[EXTRAS[key]] = _bounds(values, pixels, f"{name} {split}: {key}")
    return ImageData(name, split, pixels, targets, num_classes, **more)


def _bounds(values: np.ndarray, pixels: Tensor, where: str) -> Tensor:
    """In float64, one for each pixel; what has one row or one number serves all images."""
    if not np.issubdtype(values.dtype, np.floating):
        raise DataError(f"{where}: {values.dtype}, expected floating point in the units of the pixels")
    try:
        return torch.from_numpy(np.array(np.broadcast_to(values, pixels.shape), dtype=np.float64))
    except ValueError:
        raise DataError(f"{where}: shape {values.shape} does not fit images of {tuple(pixels.shape)}") from None


def _pixels(images: np.ndarray, where: str) -> Tensor:
    if images.dtype == np.uint8:
        return pixels_from_bytes(images)
    if not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"{where}: images are {images.dtype}, expected uint8 (0..255) or floating point in [0, 1]")
    with np.errstate(over="ignore"):  # an overflow to infinity is refused as a pixel outside [0, 1]
        return torch.from_numpy(np.array(images, dtype=np.float32, order="C"))


def _labels(labels: np.ndarray, where: str) -> Tensor:
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{where}: labels are {labels.dtype}, expected integers")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    return torch.from_numpy(labels.astype(np.int64))
