"""Where relative paths lead."""

from __future__ import annotations

from pathlib import Path

import pytest

from abcrown_graft.models.weights import find_file, package_folder


def test_the_installed_definitions_lie_in_the_package_folder():
    assert (package_folder() / "model_defs" / "cnn_b.py").is_file()


def test_the_first_folder_that_has_the_file_wins(tmp_path: Path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    for name in ("b", "c"):
        (tmp_path / name / "net.npz").touch()
    assert find_file("net.npz", [tmp_path / name for name in "abc"]) == tmp_path / "b" / "net.npz"


def test_the_working_directory_comes_after_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "net.npz").touch()
    monkeypatch.chdir(tmp_path)
    assert find_file("net.npz", [tmp_path / "nowhere"]) == Path("net.npz")


def test_installed_files_are_found_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert find_file("model_defs/cnn_b.py", [tmp_path]) == package_folder() / "model_defs" / "cnn_b.py"


def test_a_missing_or_absolute_path_is_returned_as_given(tmp_path: Path):
    assert find_file("nowhere/net.npz", [tmp_path]) == Path("nowhere/net.npz")
    assert find_file(tmp_path / "net.npz", [Path("folder")]) == tmp_path / "net.npz"
