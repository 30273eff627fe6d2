"""`load_dataset` finds what `data.dataset` stands for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from abcrown_graft.data import DATASETS, load_dataset
from abcrown_graft.errors import ConfigError, DataError

PIXELS, LABELS = np.full((2, 4, 4), 51, np.uint8), np.array([1, 0])

SCRIPT = """
import numpy as np

def constant(value, count=1):
    return np.full((count, 1, 2, 2), value), np.arange(count)
"""


def test_the_registered_names() -> None:
    assert DATASETS.names() == ("CIFAR", "CIFAR10", "DIGITS", "MNIST", "NPZ", "SVHN")


def test_the_embedded_set_needs_no_folder() -> None:
    assert load_dataset("DIGITS").split == "test"
    assert load_dataset("DIGITS", "train").split == "train"


@pytest.mark.parametrize("name", ["MNIST_SDP", "CIFAR_SAMPLE", "mnist", ""])
def test_an_unknown_name_is_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown data set '{name}'; .*known: CIFAR, CIFAR10, DIGITS, MNIST"):
        load_dataset(name)


@pytest.mark.parametrize("name", ["MNIST", "CIFAR", "SVHN"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_default_folder_is_named_when_files_are_missing(
    name: str, split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"{name} {split}: no .* in data[,/].*; get .*data\.data_dir \(--data_dir\)"):
        load_dataset(name, split)


@pytest.mark.parametrize("name", ["MNIST", "CIFAR", "SVHN", "DIGITS", "NPZ"])
def test_every_set_refuses_an_unknown_split(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{name}: unknown split 'validation'; known: test, train"):
        load_dataset(name, "validation", tmp_path)


@pytest.mark.parametrize("place", ["folder", "data_dir", "working directory", "absolute"])
def test_an_archive_is_looked_for_in_every_place(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {name: tmp_path / name for name in ("folder", "data_dir", "working directory", "absolute")}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.chdir(folders["working directory"])
    np.savez(folders[place] / "mine.npz", x=PIXELS, y=LABELS)
    name = str(folders[place] / "mine.npz") if place == "absolute" else "mine.npz"
    data = load_dataset(name, "test", folders["data_dir"], [folders["folder"]])
    assert data.labels.tolist() == [1, 0] and torch.all(data.images == torch.tensor(51) / 255)


def test_the_folder_of_the_configuration_goes_before_the_data_folder(tmp_path: Path) -> None:
    for index, folder in enumerate(("first", "second")):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "mine.npz", x=PIXELS[:1], y=[index])
    assert load_dataset("mine.npz", "test", tmp_path / "second", [tmp_path / "first"]).labels.tolist() == [0]


def test_npz_takes_the_archive_as_data_dir(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", x=PIXELS, y=LABELS)
    assert len(load_dataset("NPZ", "test", tmp_path / "mine.npz")) == 2


def test_a_missing_archive_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'none\.npz': no such file; looked for .*folder.none\.npz, .*; point"):
        load_dataset("none.npz", "test", tmp_path, [tmp_path / "folder"])


def test_a_function_is_called_with_the_arguments_written(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SCRIPT)
    data = load_dataset('Customized("mine.py", "constant", 0.5, count=3)', "train", folders=[tmp_path])
    assert data.images.tolist() == torch.full((3, 1, 2, 2), 0.5).tolist()
    assert data.labels.tolist() == [0, 1, 2] and data.split == "train"


def test_a_function_that_misses_an_argument_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SCRIPT)
    with pytest.raises(DataError, match=r"TypeError: constant\(\) missing 1 required positional argument: 'value'"):
        load_dataset('Customized("mine.py", "constant")', folders=[tmp_path])
