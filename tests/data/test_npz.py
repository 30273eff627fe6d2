"""`NPZ` reads a user's archive by documented names and layouts, and nothing pickled."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from abcrown_graft.data import DATASETS
from abcrown_graft.data.npz import channels_first
from abcrown_graft.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
LABELS = np.array([2, 0, 1, 2])
EXPECTED = torch.tensor(PIXELS).permute(0, 3, 1, 2) / 255


def save(tmp_path: Path, **arrays: object) -> Path:
    np.savez(tmp_path / "mine.npz", **arrays)
    return tmp_path / "mine.npz"


@pytest.mark.parametrize("image_name", ["x", "images", "X", "x_test", "images_test"])
@pytest.mark.parametrize("label_name", ["y", "labels", "y_test", "labels_test"])
def test_pixels_and_labels_are_exact(tmp_path: Path, image_name: str, label_name: str) -> None:
    path = save(tmp_path, **{image_name: PIXELS, label_name: LABELS})
    data = DATASETS["NPZ"]("test", path)
    assert torch.equal(data.images, EXPECTED)
    assert data.labels.tolist() == [2, 0, 1, 2]
    assert (data.name, data.split, data.num_classes) == (str(path), "test", 3)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((7, 8, 9), (7, 1, 8, 9)),
        ((7, 8, 9, 3), (7, 3, 8, 9)),
        ((7, 8, 9, 1), (7, 1, 8, 9)),
        ((7, 3, 8, 9), (7, 3, 8, 9)),
        ((7, 1, 8, 9), (7, 1, 8, 9)),
        ((7, 3, 8, 3), (7, 3, 8, 3)),
        ((7, 1, 9, 3), (7, 1, 9, 3)),
        ((7, 4, 8, 9), (7, 4, 8, 9)),
    ],
)
def test_the_layout_is_told_from_the_shape(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert channels_first(np.zeros(shape)).shape == expected


def test_a_pair_for_the_split_goes_first(tmp_path: Path) -> None:
    path = save(tmp_path, x_train=PIXELS[:1], y_train=LABELS[:1], x_test=PIXELS[1:], y_test=LABELS[1:], x=PIXELS)
    assert torch.equal(DATASETS["NPZ"]("train", path).images, EXPECTED[:1])
    assert torch.equal(DATASETS["NPZ"]("test", path).images, EXPECTED[1:])


def test_the_number_of_classes_can_be_given(tmp_path: Path) -> None:
    path = save(tmp_path, x=PIXELS, y=LABELS, num_classes=10)
    assert DATASETS["NPZ"]("test", path).num_classes == 10
    for wrong in (0, 2.5, [1, 2]):
        with pytest.raises(DataError, match="num_classes must be one positive integer"):
            DATASETS["NPZ"]("test", save(tmp_path, x=PIXELS, y=LABELS, num_classes=wrong))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": LABELS}, "holds none of the arrays x_test, images_test, x, images, X"),
        ({"x": PIXELS}, "holds none of the arrays y_test"),
        ({"x": PIXELS, "y": LABELS[:2]}, r"mine\.npz test: 4 images but 2 labels"),
        ({"x": PIXELS[0, 0], "y": LABELS}, r"shape \(5, 3\)"),
        ({"x": np.full((4, 2, 2), np.nan), "y": LABELS}, "pixel of value nan"),
        ({"x": PIXELS, "y": LABELS - 1}, "label -1 of image 1"),
        ({"x": PIXELS, "y": np.array([os.system, 1, 2, 3])}, "not a complete .npz archive of plain arrays"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        DATASETS["NPZ"]("test", save(tmp_path, **arrays))


def damaged(content: bytes) -> dict[str, bytes]:
    pixel = content.index(PIXELS.tobytes()) + 50
    header = content.index(b"'shape'")
    return {
        "truncated": content[:-10],
        "empty": b"",
        "another kind": b"<html>not found</html>",
        "one pixel differs": content[:pixel] + bytes([content[pixel] ^ 1]) + content[pixel + 1 :],
        "array header": content[:header] + b"(" + content[header + 1 :],
    }


@pytest.mark.parametrize("damage", ["truncated", "empty", "another kind", "one pixel differs", "array header"])
def test_damaged_files_are_refused(tmp_path: Path, damage: str) -> None:
    path = save(tmp_path, x=PIXELS, y=LABELS)
    path.write_bytes(damaged(path.read_bytes())[damage])
    with pytest.raises(DataError, match=r"mine\.npz: not a complete") as caught:
        DATASETS["NPZ"]("test", path)
    assert "\n" not in str(caught.value)


def test_a_single_array_is_not_an_archive(tmp_path: Path) -> None:
    with (tmp_path / "mine.npz").open("wb") as file:
        np.save(file, PIXELS)
    with pytest.raises(DataError, match="a single array, not an archive"):
        DATASETS["NPZ"]("test", tmp_path / "mine.npz")


def test_a_folder_is_not_an_archive(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"NPZ: no file .*; set data\.data_dir \(--data_dir\) to the \.npz file"):
        DATASETS["NPZ"]("test", tmp_path)
