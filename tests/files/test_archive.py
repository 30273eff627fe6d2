"""Archives that would not fit into memory are refused before anything is decompressed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from abcrown_graft.errors import DataError, FileFormatError
from abcrown_graft.files import archive, check_archive
from abcrown_graft.files.archive import memory


@pytest.fixture
def bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """8 MiB of zeros in a few thousand bytes, on a machine of 4 MiB."""
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, x=np.zeros(2**23, np.uint8), y=np.zeros(3, np.uint8))
    assert path.stat().st_size < 2**15
    monkeypatch.setattr(archive, "memory", lambda: 2**22)
    return path


def test_a_bomb_is_refused(bomb: Path) -> None:
    with pytest.raises(FileFormatError, match=r"bomb\.npz: decompresses to 0\.0 GiB, this machine has 0\.0 GiB"):
        check_archive(bomb)
    with pytest.raises(DataError):
        check_archive(bomb, DataError)


def test_members_that_are_not_read_do_not_count(bomb: Path) -> None:
    check_archive(bomb, wanted=lambda name: name == "y.npy")


def test_an_archive_that_fits_passes(bomb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "memory", lambda: 2**24)
    check_archive(bomb)


def test_what_is_no_archive_is_left_to_its_reader(tmp_path: Path) -> None:
    for content in (b"", b"PK\x03\x04 damaged", b"\x80\x02 a pickle"):
        (tmp_path / "file.pt").write_bytes(content)
        check_archive(tmp_path / "file.pt")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="this is a folder"):
        check_archive(tmp_path)


def test_a_container_may_have_less_memory_than_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "max").write_text("max\n")
    (tmp_path / "less").write_text("12345\n")
    monkeypatch.setattr(archive, "CONTAINER_LIMITS", (tmp_path / "max", tmp_path / "missing"))
    machine = memory()
    assert machine > 2**20
    monkeypatch.setattr(archive, "CONTAINER_LIMITS", (tmp_path / "max", tmp_path / "less"))
    assert memory() == 12345


def test_an_archive_declares_no_less_than_its_reader_takes(tmp_path: Path) -> None:
    """What the check relies on: a member that decompresses to more than it declares is an error of its reader."""
    path = tmp_path / "lying.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a", bytes(1000))
    content = path.read_bytes().replace((1000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(content)
    with zipfile.ZipFile(path) as file, pytest.raises(zipfile.BadZipFile):
        file.read("a")
