"""Files are looked for where the documentation says, and an error tells what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from abcrown_graft.data.locate import all_in, for_split, missing, read_bytes, reason
from abcrown_graft.errors import DataError


def test_all_in_wants_every_file(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert all_in(tmp_path, ["a"]) == [tmp_path / "a"]
    assert all_in(tmp_path, ["a", "b"]) is None
    (tmp_path / "b").mkdir()  # a folder is not a file
    assert all_in(tmp_path, ["a", "b"]) is None


def test_all_in_prefers_the_first_suffix(tmp_path: Path) -> None:
    for name in ("a", "a.gz", "b.gz"):
        (tmp_path / name).touch()
    assert all_in(tmp_path, ["a", "b"], ("", ".gz")) == [tmp_path / "a", tmp_path / "b.gz"]


def test_missing_names_files_places_archive_and_remedy() -> None:
    message = str(missing("SET", "train", ["f1", "f2"], [Path("here"), Path("there")], "set.tar.gz"))
    for part in ("SET train", "f1 + f2", "here, there", "set.tar.gz", "data.data_dir (--data_dir)"):
        assert part in message
    assert "\n" not in message


def test_an_unknown_split_is_answered_with_the_known_ones() -> None:
    assert for_split("SET", "test", {"test": 1}) == 1
    with pytest.raises(DataError, match="SET: unknown split 'val'; known: test, train"):
        for_split("SET", "val", {"train": 0, "test": 1})


def test_what_cannot_be_read_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_bytes(tmp_path)


def test_a_reason_is_one_line() -> None:
    assert reason(ValueError("two\n  lines")) == "two lines"
    assert reason(EOFError()) == "EOFError"
