"""Turns a user's arrays into checked images and labels, refusing what could be meant in two ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from abcrown_graft.data.images import BYTE_LEVELS, ImageData, pixels_from_bytes
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
        images: uint8 (divided by 255) or floating point in [0, 1]; what float32 does not hold is kept in float64.
        labels: integers from 0.
        num_classes: by default one more than the largest label, the fewest that the labels allow.
        extras: any of `EXTRAS`, α,β-CROWN's words for targets and bounds.

    Raises:
        DataError: another type or shape, or what `ImageData` refuses.
    """
    targets = _labels(labels, f"{name} {split}")
    if num_classes is None:
        num_classes = max(int(targets.max()), 0) + 1 if targets.numel() else 1
    pixels = _pixels(images, f"{name} {split}")
    more: dict[str, Any] = {}
    for key, values in (extras or {}).items():
        if key == "target_label":
            more[EXTRAS[key]] = _labels(values, f"{name} {split}: target_label")
        else:
            more[EXTRAS[key]] = _bounds(key, values, images.shape, f"{name} {split}: {key}")
    return ImageData(name, split, labels=targets, num_classes=num_classes, **pixels, **more)


def _bounds(key: str, values: np.ndarray, shape: tuple[int, ...], where: str) -> Tensor:
    """In float64, one for each pixel; what has one row or one number serves all images."""
    if not np.issubdtype(values.dtype, np.floating):
        raise DataError(f"{where}: {values.dtype}, expected floating point in the units of the pixels")
    try:
        return torch.from_numpy(np.array(np.broadcast_to(_outwards(key, values), shape)))
    except ValueError:
        raise DataError(f"{where}: shape {values.shape} does not fit images of {tuple(shape)}") from None


def _outwards(key: str, values: np.ndarray) -> np.ndarray:
    """In float64: exact, but for those of longer numbers that float64 does not hold."""
    with np.errstate(over="ignore"):  # an infinite bound is refused
        near = values.astype(np.float64)
    if key == "data_min":
        return np.where(near > values, np.nextafter(near, -np.inf), near)
    return np.where(near < values, np.nextafter(near, np.inf), near)


def _pixels(images: np.ndarray, where: str) -> dict[str, Any]:
    """The entries of `ImageData` that say what the pixels are."""
    if images.dtype == np.uint8:
        return {"images": pixels_from_bytes(images), "levels": BYTE_LEVELS}
    if not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"{where}: images are {images.dtype}, expected uint8 (0..255) or floating point in [0, 1]")
    with np.errstate(over="ignore"):  # an overflow to infinity is refused as a pixel outside [0, 1]
        single = np.array(images, dtype=np.float32, order="C")
    if np.array_equal(single, images, equal_nan=True):
        return {"images": torch.from_numpy(single)}
    exact = np.array(images, dtype=np.float64, order="C")
    if not np.array_equal(exact, images, equal_nan=True):
        raise DataError(f"{where}: float64 does not hold these {images.dtype} images; convert them with astype('f8')")
    return {"images": torch.from_numpy(single), "pixels": torch.from_numpy(exact)}


def _labels(labels: np.ndarray, where: str) -> Tensor:
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{where}: labels are {labels.dtype}, expected integers")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    return torch.from_numpy(labels.astype(np.int64))
