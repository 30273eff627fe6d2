"""Augmented images are shifted, padded, mirrored copies, decided by the generator alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from abcrown_graft.errors import ConfigError
from abcrown_graft.training.settings import AUGMENTATIONS


def augmented(name: str, images: Tensor, seed: int = 0) -> Tensor:
    return AUGMENTATIONS[name](images, torch.Generator().manual_seed(seed))


def crops(image: Tensor) -> dict[tuple[int, int, bool], Tensor]:
    """All images that crop and flip can make of one."""
    padded, (height, width) = F.pad(image, (4, 4, 4, 4)), image.shape[1:]
    found = {}
    for top in range(9):
        for left in range(9):
            crop = padded[:, top : top + height, left : left + width]
            found[top, left, False], found[top, left, True] = crop, crop.flip(2)
    return found


def which(image: Tensor, result: Tensor) -> tuple[int, int, bool]:
    [key] = [key for key, crop in crops(image).items() if torch.equal(crop, result)]
    return key


def test_every_result_is_one_crop_of_its_own_image() -> None:
    images = torch.rand(40, 2, 7, 6) * 0.9 + 0.1
    keys = {which(image, result) for image, result in zip(images, augmented("crop_flip", images), strict=True)}
    assert len(keys) > 20


def test_every_crop_occurs_about_equally_often() -> None:
    image = torch.rand(1, 1, 5, 5) * 0.9 + 0.1
    results = augmented("crop_flip", image.expand(8100, -1, -1, -1))
    counts = torch.stack([(results == crop).flatten(1).all(1).sum() for crop in crops(image[0]).values()])
    assert counts.sum() == 8100
    assert counts.min() >= 20 and counts.max() <= 90  # 50 expected


def test_seeded() -> None:
    images = torch.rand(5, 3, 8, 8)
    assert torch.equal(augmented("crop_flip", images, 1), augmented("crop_flip", images, 1))
    assert not torch.equal(augmented("crop_flip", images, 1), augmented("crop_flip", images, 2))


def test_none_changes_nothing() -> None:
    images = torch.rand(5, 3, 8, 8)
    assert torch.equal(augmented("none", images), images)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="crop_flip, none"):
        AUGMENTATIONS["crop_flop"]
