"""`ImageData` holds checked images: whatever is made, is sound."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from abcrown_graft.data.images import ImageData, check_labels, pixels_from_bytes
from abcrown_graft.errors import DataError
from abcrown_graft.geometry.box import Box


def make(images: torch.Tensor | None = None, labels: torch.Tensor | None = None, num_classes: int = 3) -> ImageData:
    images = torch.linspace(0, 1, 4 * 2 * 3 * 5).reshape(4, 2, 3, 5) if images is None else images
    labels = torch.tensor([0, 2, 1, 2]) if labels is None else labels
    return ImageData("TOY", "test", images, labels, num_classes)


def test_it_keeps_what_it_is_given() -> None:
    images, labels = torch.rand(2, 1, 3, 3), torch.tensor([1, 0])
    data = make(images, labels)
    assert (data.name, data.split, data.num_classes, len(data)) == ("TOY", "test", 3, 2)
    assert data.images is images and data.labels is labels


def test_zero_and_one_are_valid_pixels() -> None:
    assert len(make(torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2), torch.tensor([0]))) == 1


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(4, 3, 5), None, r"shape \(4, 3, 5\), expected \(n, channels, height, width\)"),
        (torch.zeros(4, 2, 3, 5, dtype=torch.float64), None, "must be float32"),
        (None, torch.tensor([0, 1, 2, 2], dtype=torch.int32), "labels int64, not torch.float32 and torch.int32"),
        (None, torch.zeros(4, 1, dtype=torch.int64), r"labels have shape \(4, 1\)"),
        (None, torch.tensor([0, 1, 2]), "4 images but 3 labels"),
        (torch.zeros(0, 1, 2, 2), torch.zeros(0, dtype=torch.int64), "are empty"),
        (torch.zeros(4, 1, 0, 2), None, "are empty"),
        (None, torch.tensor([0, 1, 3, 2]), r"label 3 of image 2 is outside 0\.\.2"),
        (None, torch.tensor([0, -1, 1, 2]), r"label -1 of image 1 is outside 0\.\.2"),
    ],
)
def test_a_wrong_form_is_refused(images: torch.Tensor | None, labels: torch.Tensor | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make(images, labels)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1e-6, 1 + 1e-6, 255.0])
@pytest.mark.parametrize("position", [(0, 0, 0, 0), (2, 1, 2, 4)])
def test_one_bad_pixel_anywhere_is_refused_and_named(value: float, position: tuple[int, int, int, int]) -> None:
    images = torch.full((4, 2, 3, 5), 0.5)
    images[position] = value
    with pytest.raises(DataError, match=rf"image {position[0]} has a pixel of value {torch.tensor(value).item():g}"):
        make(images)


def test_select_keeps_the_order_and_repeats() -> None:
    data = make()
    chosen = data.select([3, 0, 3])
    assert torch.equal(chosen.images, data.images[[3, 0, 3]])
    assert chosen.labels.tolist() == [2, 0, 2]
    assert (chosen.name, chosen.split, chosen.num_classes) == ("TOY", "test", 3)
    assert torch.equal(data.select(range(1, 3)).images, data.images[1:3])
    assert torch.equal(data.select(torch.tensor([1, 2])).images, data.images[1:3])


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([4], r"no image 4; there are 0\.\.3"),
        ([0, -1], "no image -1"),
        ([], "no image selected"),
        ([[0, 1]], "no image selected"),
        ([0.0, 1.0], "must be integers"),
        (torch.tensor([True, False, True, False]), "must be integers, not torch.bool"),
    ],
)
def test_select_refuses_what_is_no_list_of_indices(indices: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make().select(indices)


def test_the_fingerprint_tells_contents_apart() -> None:
    data = make()
    assert data.fingerprint == make().fingerprint
    assert len(data.fingerprint) == 16 and int(data.fingerprint, 16) >= 0
    brighter = data.images.clone()
    brighter[0, 0, 0, 0] = 1e-7
    others = [
        make(brighter),
        make(labels=torch.tensor([0, 2, 1, 1])),
        make(data.images.reshape(4, 2, 5, 3)),
        data.select([0, 1, 2]),
        data.select([1, 0, 2, 3]),
    ]
    assert len({data.fingerprint, *(other.fingerprint for other in others)}) == 6


def test_the_fingerprint_depends_on_values_and_not_on_the_layout_in_memory() -> None:
    data = make()
    strided = data.images.contiguous(memory_format=torch.channels_last)
    assert not strided.is_contiguous()
    assert make(strided).fingerprint == data.fingerprint


def test_every_byte_becomes_the_float_nearest_to_its_fraction() -> None:
    values = np.arange(256, dtype=np.uint8)
    expected = [float(np.float32(value / 255)) for value in range(256)]
    assert pixels_from_bytes(values).tolist() == expected


def test_pixels_from_bytes_owns_its_memory() -> None:
    source = np.array([255], dtype=np.uint8)
    pixels = pixels_from_bytes(source)
    source[0] = 0
    assert pixels.tolist() == [1.0]


def test_check_labels_begins_with_the_file() -> None:
    check_labels(torch.tensor([0, 9]), 10, "labels.bin")
    with pytest.raises(DataError, match=r"^labels\.bin: label 10 of image 1 is outside 0\.\.9$"):
        check_labels(torch.tensor([0, 10]), 10, "labels.bin")


def ends(box: Box) -> tuple[list[Fraction], list[Fraction]]:
    lower, upper = ([Fraction(value) for value in end.flatten().tolist()] for end in (box.lower, box.upper))
    return lower, upper


def test_readings_of_bytes_hold_their_quotients() -> None:
    images = pixels_from_bytes(np.arange(256, dtype=np.uint8).reshape(4, 1, 8, 8))
    data = ImageData("TOY", "test", images, torch.zeros(4, dtype=torch.int64), 1, levels=255)
    found = data.readings([1, 0])
    assert found.lower.dtype == torch.float64 and found.lower.shape == (2, 1, 8, 8)
    for low, high, byte in zip(*ends(found), [*range(64, 128), *range(64)], strict=True):
        assert low <= Fraction(byte, 255) <= high and high - low <= Fraction(2) ** -51


def test_readings_of_floats_are_themselves() -> None:
    exact = torch.linspace(0, 1, 12, dtype=torch.float64).view(3, 1, 2, 2)
    labels = torch.zeros(3, dtype=torch.int64)
    data = ImageData("TOY", "test", exact.float(), labels, 1)
    assert torch.equal(data.readings([2]).lower, exact[2:].float().double())
    longer = ImageData("TOY", "test", exact.float(), labels, 1, pixels=exact)
    assert torch.equal(longer.readings([2]).upper, exact[2:])
    assert torch.equal(longer.select([2, 0]).readings([0]).lower, exact[2:])
    assert longer.fingerprint != data.fingerprint
    assert (
        longer.fingerprint != ImageData("TOY", "test", exact.float(), labels, 1, pixels=exact * (1 - 1e-15)).fingerprint
    )


def test_pixels_of_other_images_are_refused() -> None:
    images = torch.rand(2, 1, 2, 2)
    with pytest.raises(DataError, match="not the float32 numbers nearest to their pixels"):
        ImageData("TOY", "test", images, torch.tensor([0, 0]), 1, pixels=images.double().flip(0))
