"""`DIGITS` is all of scikit-learn's digits, split the same way for ever."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from abcrown_graft.data import DATASETS, ImageData
from abcrown_graft.errors import DataError


@pytest.fixture(scope="module")
def train() -> ImageData:
    return DATASETS["DIGITS"]("train", Path("not needed"))


@pytest.fixture(scope="module")
def test() -> ImageData:
    return DATASETS["DIGITS"]("test", Path("not needed"))


def bag(images: torch.Tensor, labels: torch.Tensor) -> Counter:
    return Counter((image.numpy().tobytes(), int(label)) for image, label in zip(images, labels, strict=True))


def test_train_and_test_together_are_the_whole_set(train: ImageData, test: ImageData) -> None:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    whole = torch.from_numpy(pixels / 16).float().reshape(-1, 1, 8, 8)
    assert bag(train.images, train.labels) + bag(test.images, test.labels) == bag(whole, torch.from_numpy(labels))


def test_sizes_and_scale(train: ImageData, test: ImageData) -> None:
    assert train.images.shape == (1297, 1, 8, 8) and test.images.shape == (500, 1, 8, 8)
    assert train.num_classes == test.num_classes == 10
    for data in (train, test):
        assert data.images.min() == 0 and data.images.max() == 1
        assert torch.equal(data.images * 16, (data.images * 16).round())


def test_the_split_never_changes(train: ImageData, test: ImageData) -> None:
    assert test.labels[:10].tolist() == [3, 1, 5, 4, 6, 9, 7, 0, 2, 8]
    assert test.fingerprint == "9b7481af23105efe"
    assert train.fingerprint == "16ccc66b64099f8f"


@pytest.mark.parametrize("n", [50, 100, 500])
def test_every_prefix_is_class_balanced(test: ImageData, n: int) -> None:
    counts = torch.bincount(test.labels[:n], minlength=10)
    assert (counts - n / 10).abs().max() <= 2


def test_loading_does_not_import_scikit_learn() -> None:
    code = (
        "import sys; from pathlib import Path; from abcrown_graft.data import DATASETS; "
        "DATASETS['DIGITS']('test', Path()); sys.exit('sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_installation_with_another_layout_gives_the_same(monkeypatch: pytest.MonkeyPatch, test: ImageData) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert DATASETS["DIGITS"]("test", Path()).fingerprint == test.fingerprint


def test_there_is_no_third_split() -> None:
    with pytest.raises(DataError, match="DIGITS: unknown split 'val'"):
        DATASETS["DIGITS"]("val", Path())
