"""`CIFAR` reads both official versions exactly, without trusting a pickle."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from real_data import folder_with

from abcrown_graft.data import DATASETS
from abcrown_graft.errors import DataError

COUNT = 2  # images per batch


def batch(seed: int) -> tuple[np.ndarray, list[int]]:
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (COUNT, 3072), dtype=np.uint8)
    return pixels, generator.integers(0, 10, COUNT).tolist()


def binary(pixels: np.ndarray, labels: list[int]) -> bytes:
    return b"".join(bytes([label]) + image.tobytes() for image, label in zip(pixels, labels, strict=True))


def python_3(pixels: np.ndarray, labels: list[int]) -> bytes:
    return pickle.dumps({"data": pixels, "labels": labels, "batch_label": "b", "filenames": ["a.png"]}, protocol=2)


def python_2(pixels: np.ndarray, labels: list[int]) -> bytes:
    """The instructions that Python 2 wrote: byte strings (U, T), `numpy.core`, protocol 2."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    shape = b"".join(b"M" + struct.pack("<H", size) for size in pixels.shape)
    unset = b"J\xff\xff\xff\xff"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    array += b"(K\x01" + shape + b"\x86cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R"
    array += b"(K\x03" + text(b"|") + b"NNN" + unset + unset + b"K\x00tb"
    array += b"\x89T" + struct.pack("<I", pixels.size) + pixels.tobytes() + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    entries = text(b"data") + array + text(b"labels") + numbers + text(b"batch_label") + text(b"testing batch 1 of 1")
    return b"\x80\x02}(" + entries + b"u."


VERSIONS = {
    "binary": ("cifar-10-batches-bin", ".bin", binary),
    "python 2": ("cifar-10-batches-py", "", python_2),
    "python 3": ("cifar-10-batches-py", "", python_3),
}


def write_all(data_dir: Path, version: str, in_data_dir_itself: bool = False) -> Path:
    name, suffix, encode = VERSIONS[version]
    folder = data_dir if in_data_dir_itself else data_dir / name
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(1, 6):
        (folder / f"data_batch_{seed}{suffix}").write_bytes(encode(*batch(seed)))
    (folder / f"test_batch{suffix}").write_bytes(encode(*batch(0)))
    return folder


@pytest.mark.parametrize("itself", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
def test_pixels_and_labels_are_exact(tmp_path: Path, version: str, itself: bool) -> None:
    write_all(tmp_path, version, itself)
    for split, seeds in (("test", [0]), ("train", [1, 2, 3, 4, 5])):
        data = DATASETS["CIFAR"](split, tmp_path)
        pixels = np.concatenate([batch(seed)[0] for seed in seeds]).reshape(-1, 3, 32, 32)
        assert torch.equal(data.images, torch.tensor(pixels) / 255)
        assert data.labels.tolist() == [label for seed in seeds for label in batch(seed)[1]]
        assert (data.name, data.split, data.num_classes) == ("CIFAR", split, 10)


def test_the_planes_are_red_green_blue_row_by_row(tmp_path: Path) -> None:
    folder = write_all(tmp_path, "binary")
    pixels = np.zeros((1, 3072), np.uint8)
    pixels[0, 1024 + 2 * 32 + 5] = 255
    (folder / "test_batch.bin").write_bytes(binary(pixels, [4]))
    assert DATASETS["CIFAR"]("test", tmp_path).images.nonzero().tolist() == [[0, 1, 2, 5]]


def test_cifar10_is_another_name(tmp_path: Path) -> None:
    assert DATASETS["CIFAR10"] is DATASETS["CIFAR"]


def test_a_complete_version_goes_before_an_incomplete_one(tmp_path: Path) -> None:
    (write_all(tmp_path, "binary") / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"CIFAR train: no data_batch_1\.bin \+ "):
        DATASETS["CIFAR"]("train", tmp_path)
    write_all(tmp_path, "python 2")
    assert len(DATASETS["CIFAR"]("train", tmp_path)) == 5 * COUNT


def test_missing_files_are_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        DATASETS["CIFAR"]("test", tmp_path)
    message = str(caught.value)
    for part in ("test_batch.bin", "cifar-10-binary.tar.gz", str(tmp_path), "data.data_dir (--data_dir)"):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (binary(*batch(0))[:-1], r"expected a multiple of 3073 bytes \(6146\), found 6145"),
        (b"", r"expected a multiple of 3073 bytes \(3073\), found 0"),
        (binary(batch(0)[0], [3, 10]), r"test_batch\.bin: label 10 of image 1 is outside 0\.\.9"),
    ],
)
def test_damaged_binary_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (write_all(tmp_path, "binary") / "test_batch.bin").write_bytes(content)
    with pytest.raises(DataError, match=message):
        DATASETS["CIFAR"]("test", tmp_path)


PIXELS, LABELS = batch(0)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"labels": LABELS}, r"'data' must be uint8 of shape \(n, 3072\), found NoneType"),
        ({"data": PIXELS[:, :3071], "labels": LABELS}, r"found \(2, 3071\)"),
        ({"data": PIXELS.reshape(2, 3, 32, 32), "labels": LABELS}, r"found \(2, 3, 32, 32\)"),
        ({"data": PIXELS / 255, "labels": LABELS}, "not a complete array of uint8"),
        ({"data": PIXELS}, "'labels' must be a list of integers"),
        ({"data": PIXELS, "fine_labels": LABELS}, "'labels' must be a list of integers"),
        ({"data": PIXELS, "labels": [1, 10]}, r"integers in 0\.\.9"),
        ({"data": PIXELS, "labels": [1, -1]}, r"integers in 0\.\.9"),
        ({"data": PIXELS, "labels": [1, float("nan")]}, r"integers in 0\.\.9"),
        ({"data": PIXELS, "labels": [1]}, "2 images but 1 labels"),
        ({"data": os.system, "labels": LABELS}, "which is refused"),
    ],
)
def test_damaged_python_files_are_refused(tmp_path: Path, entries: dict, message: str) -> None:
    (write_all(tmp_path, "python 3") / "test_batch").write_bytes(pickle.dumps(entries, protocol=2))
    with pytest.raises(DataError, match=message):
        DATASETS["CIFAR"]("test", tmp_path)


def test_a_truncated_python_file_is_refused(tmp_path: Path) -> None:
    path = write_all(tmp_path, "python 2") / "test_batch"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="test_batch: not a pickle of plain arrays"):
        DATASETS["CIFAR"]("test", tmp_path)


def test_official_facts() -> None:
    data = DATASETS["CIFAR"]("test", folder_with("cifar-10-batches-bin"))
    assert data.labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    assert torch.bincount(data.labels).tolist() == [1000] * 10
