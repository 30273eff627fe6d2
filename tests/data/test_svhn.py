"""`SVHN` reads the official MATLAB files exactly; their "10" is digit 0."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from abcrown_graft.data import DATASETS, svhn
from abcrown_graft.errors import DataError
from abcrown_graft.files import archive

PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
LABELS = np.array([[10], [1], [9], [10]], dtype=np.uint8)


def write(folder: Path, name: str = "test_32x32.mat", compressed: bool = True, **variables: np.ndarray) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / name, {"X": PIXELS, "y": LABELS} | variables, do_compression=compressed)
    return folder / name


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("folder", [".", "SVHN", "svhn"])
def test_pixels_and_labels_are_exact(tmp_path: Path, folder: str, compressed: bool) -> None:
    write(tmp_path / folder, compressed=compressed)
    data = DATASETS["SVHN"]("test", tmp_path)
    assert data.labels.tolist() == [0, 1, 9, 0]
    assert (data.name, data.split, data.num_classes) == ("SVHN", "test", 10)
    for image, row, column, channel in ((0, 0, 0, 0), (3, 31, 7, 2), (1, 2, 30, 1)):
        assert data.images[image, channel, row, column] == PIXELS[row, column, channel, image] / np.float32(255)
    assert torch.equal(data.images, torch.tensor(PIXELS).permute(3, 2, 0, 1) / 255)


def test_the_training_split_has_its_own_file(tmp_path: Path) -> None:
    write(tmp_path, "train_32x32.mat", y=np.array([[2.0], [3.0], [4.0], [5.0]]))
    assert DATASETS["SVHN"]("train", tmp_path).labels.tolist() == [2, 3, 4, 5]
    with pytest.raises(DataError, match=r"no test_32x32\.mat in .*svhn; get test_32x32\.mat .*--data_dir"):
        DATASETS["SVHN"]("test", tmp_path)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"X": PIXELS / 255}, r"X is float64 \(32, 32, 3, 4\), expected uint8 \(32, 32, 3, n\)"),
        ({"X": PIXELS.transpose(3, 2, 0, 1)}, r"X is uint8 \(4, 3, 32, 32\)"),
        ({"y": LABELS[:3]}, "4 images but 3 labels"),
        ({"y": np.array([[1], [2], [11], [3]])}, r"y\[2\] is 11, expected 1\.\.10"),
        ({"y": np.array([[1], [0], [1], [3]])}, r"y\[1\] is 0, expected 1\.\.10"),
        ({"y": np.array([[1], [2], [3], [np.nan]])}, r"y\[3\] is nan, expected 1\.\.10"),
        ({"y": np.array([[1.5], [2], [3], [4]])}, r"y\[0\] is 1\.5, expected 1\.\.10"),
    ],
)
def test_wrong_variables_are_refused(tmp_path: Path, variables: dict[str, np.ndarray], message: str) -> None:
    write(tmp_path, **variables)
    with pytest.raises(DataError, match=message):
        DATASETS["SVHN"]("test", tmp_path)


def test_both_variables_must_be_there(tmp_path: Path) -> None:
    savemat(tmp_path / "test_32x32.mat", {"X": PIXELS})
    with pytest.raises(DataError, match="must hold the variables X and y"):
        DATASETS["SVHN"]("test", tmp_path)


@pytest.mark.parametrize("length", [0, 3, 100, 128, 140, 1000, -1])
def test_truncated_files_are_refused(tmp_path: Path, length: int) -> None:
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match=r"test_32x32\.mat: ") as caught:
        DATASETS["SVHN"]("test", tmp_path)
    assert "\n" not in str(caught.value)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test_32x32.mat").write_text("<html>not found</html>" * 50)
    with pytest.raises(DataError, match="not a complete MATLAB 5 file"):
        DATASETS["SVHN"]("test", tmp_path)


def test_cells_in_cells_are_not_read(tmp_path: Path) -> None:
    cell = np.empty((1, 1), dtype=object)
    cell[0, 0] = np.zeros(3)
    with pytest.raises(DataError, match="X is cell, not numbers"):
        DATASETS["SVHN"]("test", write(tmp_path, X=cell).parent)


def test_a_file_that_decompresses_to_more_than_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, X=np.zeros((32, 32, 3, 600), np.uint8), y=np.ones((600, 1), np.uint8))
    DATASETS["SVHN"]("test", path.parent)
    for module in (archive, svhn):
        monkeypatch.setattr(module, "memory", lambda: 2**20)
    with pytest.raises(DataError, match="decompresses to .* GiB, this machine has"):
        DATASETS["SVHN"]("test", path.parent)
