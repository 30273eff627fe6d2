"""`MNIST` reads IDX files exactly and refuses damaged ones."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from real_data import folder_with

from abcrown_graft.data import DATASETS
from abcrown_graft.data.mnist import read_idx
from abcrown_graft.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
LABELS = np.array([7, 0, 9], dtype=np.uint8)
IMAGE_FILE, LABEL_FILE = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


def write(folder: Path, images: bytes = idx(PIXELS), labels: bytes = idx(LABELS), suffix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pack = gzip.compress if suffix else bytes
    (folder / (IMAGE_FILE + suffix)).write_bytes(pack(images))
    (folder / (LABEL_FILE + suffix)).write_bytes(pack(labels))


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("folder", [".", "MNIST/raw", "mnist"])
def test_pixels_and_labels_are_exact_wherever_the_files_lie(tmp_path: Path, folder: str, suffix: str) -> None:
    write(tmp_path / folder, suffix=suffix)
    data = DATASETS["MNIST"]("test", tmp_path)
    assert torch.equal(data.images, torch.tensor(PIXELS)[:, None] / 255)
    assert data.labels.tolist() == [7, 0, 9]
    assert (data.name, data.split, data.num_classes) == ("MNIST", "test", 10)


def test_the_training_split_has_its_own_files(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(PIXELS[:1]))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS[2:]))
    assert DATASETS["MNIST"]("train", tmp_path).labels.tolist() == [9]


def test_missing_files_are_explained(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / LABEL_FILE).unlink()
    with pytest.raises(DataError) as caught:
        DATASETS["MNIST"]("test", tmp_path)
    message = str(caught.value)
    for part in (LABEL_FILE, f"{IMAGE_FILE}.gz", str(tmp_path / "MNIST" / "raw"), "data.data_dir (--data_dir)"):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (idx(PIXELS)[:-1], idx(LABELS), rf"{IMAGE_FILE}: expected 2368 bytes .* found 2367"),
        (idx(PIXELS) + b"\0", idx(LABELS), rf"{IMAGE_FILE}: expected 2368 bytes .* found 2369"),
        (idx(PIXELS)[:10], idx(LABELS), r"10 bytes, too short for an IDX header of 16 bytes"),
        (b"", idx(LABELS), "0 bytes, too short"),
        (idx(LABELS) + bytes(20), idx(LABELS), "magic number 0x00000801, expected 0x00000803"),
        (idx(PIXELS), idx(PIXELS), rf"{LABEL_FILE}: magic number 0x00000803, expected 0x00000801"),
        (idx(PIXELS), idx(LABELS)[:-1], rf"{LABEL_FILE}: expected 11 bytes .* found 10"),
        (idx(PIXELS), idx(LABELS[:2]), "3 images, but .* has 2 labels"),
        (idx(PIXELS), idx(np.array([1, 10, 2], np.uint8)), rf"{LABEL_FILE}: label 10 of image 1 is outside 0\.\.9"),
        (idx(PIXELS[:, :27]), idx(LABELS), "images of 27 x 28 pixels, expected 28 x 28"),
        (idx(PIXELS[:0]), idx(LABELS[:0]), "empty"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, images: bytes, labels: bytes, message: str) -> None:
    write(tmp_path, images, labels)
    with pytest.raises(DataError, match=message):
        DATASETS["MNIST"]("test", tmp_path)


@pytest.mark.parametrize("damage", [lambda packed: packed[:-4], lambda packed: b"plain", lambda packed: packed[:30]])
def test_damaged_compression_is_refused(tmp_path: Path, damage) -> None:
    write(tmp_path, suffix=".gz")
    path = tmp_path / f"{IMAGE_FILE}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"ubyte\.gz: not a complete gzip file"):
        DATASETS["MNIST"]("test", tmp_path)


def test_read_idx_takes_any_number_of_dimensions(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.uint8).reshape(1, 2, 3, 4)
    (tmp_path / "x").write_bytes(idx(values))
    assert np.array_equal(read_idx(tmp_path / "x", 4), values)


def test_official_facts() -> None:
    data = DATASETS["MNIST"]("test", folder_with(f"MNIST/raw/{IMAGE_FILE}"))
    assert data.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert torch.bincount(data.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
