from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from pathlib import Path

import pytest
from other_process import python

from abcrown_graft import files
from abcrown_graft.files import append_record, write_atomically


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


class TestAtomicWrites:
    def test_missing_folders_are_made_and_old_content_replaced(self, tmp_path):
        path = tmp_path / "a" / "b" / "file.bin"
        for text in (b"first", b"second, longer", b""):
            write_atomically(path, text)
            assert content(path.parent) == {"file.bin": text}

    @pytest.mark.parametrize("failing", ["fsync", "replace"])
    def test_a_failure_leaves_the_old_file_and_nothing_else(self, tmp_path, monkeypatch, failing):
        path = tmp_path / "file.bin"
        write_atomically(path, b"old")

        def fail(*_):
            raise OSError("no space left on device")

        monkeypatch.setattr(os, failing, fail)
        with pytest.raises(OSError, match="no space"):
            write_atomically(path, b"new")
        assert content(tmp_path) == {"file.bin": b"old"}

    def test_a_folder_in_the_way_is_named_and_the_temporary_file_is_not(self, tmp_path):
        (tmp_path / "file.bin").mkdir()
        with pytest.raises(IsADirectoryError) as caught:
            write_atomically(tmp_path / "file.bin", b"new")
        assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / "file.bin"), None)
        assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]

    def test_a_full_disk_is_told_by_the_name_of_the_file(self, tmp_path, monkeypatch):
        def fail(_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match=r"No space left on device: '.*file\.bin'"):
            write_atomically(tmp_path / "file.bin", b"new")
        assert content(tmp_path) == {}

    def test_an_interrupt_leaves_the_old_file_too(self, tmp_path, monkeypatch):
        path = tmp_path / "file.bin"
        write_atomically(path, b"old")

        def interrupt(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, b"new")
        assert content(tmp_path) == {"file.bin": b"old"}

    def test_it_is_on_the_disk_before_it_replaces_the_old_one(self, tmp_path, monkeypatch):
        events = []
        for name in ("fsync", "replace"):
            whole = getattr(os, name)
            monkeypatch.setattr(os, name, lambda *a, name=name, whole=whole: (events.append(name), whole(*a))[1])
        write_atomically(tmp_path / "file.bin", b"x")
        assert events == ["fsync", "replace"]

    def test_the_file_has_the_rights_of_any_new_file(self, tmp_path):
        write_atomically(tmp_path / "file.bin", b"x")
        (tmp_path / "other.bin").write_bytes(b"x")
        modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("file.bin", "other.bin")]
        assert modes[0] == modes[1]


WRITING = """
import os, sys, threading
from pathlib import Path
from abcrown_graft import files
whole = os.fsync
def stop(descriptor):
    whole(descriptor)
    print("written", flush=True)
    sys.stdin.read()
os.fsync = stop
files.write_atomically(sys.argv[1], b"of the other process")
"""


class TestLeftOverFiles:
    """A killed process leaves its temporary file; who writes the same file next removes it."""

    def test_that_of_a_killed_process_is_gone_with_the_next_write(self, tmp_path):
        path = tmp_path / "file.bin"
        with python(WRITING, path) as other:
            assert names(tmp_path) == [".file.bin.abcrown-graft.part"]
            other.kill()
            other.wait()
            assert names(tmp_path) == [".file.bin.abcrown-graft.part"]
            write_atomically(tmp_path / "another.bin", b"x")
            assert ".file.bin.abcrown-graft.part" in names(tmp_path)
            write_atomically(path, b"new")
        assert content(tmp_path) == {"another.bin": b"x", "file.bin": b"new"}

    def test_that_of_a_living_process_is_not(self, tmp_path):
        path = tmp_path / "file.bin"
        with python(WRITING, path) as other:
            write_atomically(path, b"of this one")
            assert names(tmp_path) == [".file.bin.abcrown-graft.part", "file.bin"]
            assert path.read_bytes() == b"of this one"
            other.communicate("")
        assert content(tmp_path) == {"file.bin": b"of the other process"}

    def test_those_of_several_killed_processes_are_gone_too(self, tmp_path):
        for name in (".a.abcrown-graft.part", ".a.abcrown-graft.1.part", ".a.abcrown-graft.2.part"):
            (tmp_path / name).write_text("part")
        write_atomically(tmp_path / "a", b"new")
        assert content(tmp_path) == {"a": b"new"}

    def test_other_files_stay(self, tmp_path):
        others = ("a.part", ".a.part", "tmp1234.part", ".b.abcrown-graft.part", ".a.abcrown-graft.x.part")
        for name in others:
            (tmp_path / name).write_text("mine")
        write_atomically(tmp_path / "a", b"new")
        assert names(tmp_path) == sorted([*others, "a"])

    @pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
    def test_what_is_in_the_way_does_no_harm(self, tmp_path, make):
        make(tmp_path / ".a.abcrown-graft.part")
        write_atomically(tmp_path / "a", b"new")
        assert (tmp_path / "a").read_bytes() == b"new"

    def test_a_link_in_the_way_is_not_followed(self, tmp_path):
        (tmp_path / "precious").write_text("precious")
        (tmp_path / ".a.abcrown-graft.part").symlink_to(tmp_path / "precious")
        write_atomically(tmp_path / "a", b"new")
        assert (tmp_path / "precious").read_text() == "precious"
        assert (tmp_path / "a").read_bytes() == b"new" and not (tmp_path / "a").is_symlink()

    def test_a_name_of_any_length_leaves_room(self, tmp_path):
        write_atomically(tmp_path / ("x" * 255), b"new")
        assert content(tmp_path) == {"x" * 255: b"new"}

    def test_a_file_system_without_locks_is_written_to_all_the_same(self, tmp_path, monkeypatch):
        def refuse(*_):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", refuse)
        write_atomically(tmp_path / "a", b"new")
        assert content(tmp_path) == {"a": b"new"}


def test_a_file_in_the_way_is_kept_under_the_first_free_number(tmp_path):
    (tmp_path / "out.2.txt").write_text("taken")
    for k in (1, 3, 4):
        (tmp_path / "out.txt").write_text(f"run {k}")
        assert files.keep_aside(tmp_path / "out.txt") == tmp_path / f"out.{k}.txt"
    expected = {"out.1.txt": b"run 1", "out.2.txt": b"taken", "out.3.txt": b"run 3", "out.4.txt": b"run 4"}
    assert content(tmp_path) == expected


class TestRecords:
    def test_each_is_a_line_of_json(self, tmp_path):
        records = [{"a": 1, "b": [0.1, None]}, {"text": 'ε\n"quoted"'}, {}]
        for record in records:
            append_record(tmp_path / "log.jsonl", record)
        lines = (tmp_path / "log.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in lines] == records
        assert (tmp_path / "log.jsonl").read_bytes().isascii()

    def test_each_is_on_the_disk_when_the_call_returns(self, tmp_path, monkeypatch):
        seen = []
        monkeypatch.setattr(os, "fsync", lambda _: seen.append((tmp_path / "log.jsonl").read_bytes()))
        append_record(tmp_path / "log.jsonl", {"a": 1})
        assert seen == [b'{"a": 1}\n']

    def test_a_record_that_is_no_json_adds_nothing(self, tmp_path):
        append_record(tmp_path / "log.jsonl", {"a": 1})
        with pytest.raises(TypeError):
            append_record(tmp_path / "log.jsonl", {"a": 1, "b": object()})
        assert (tmp_path / "log.jsonl").read_text() == '{"a": 1}\n'


def test_a_folder_that_cannot_be_written_to_is_told_by_the_name_of_the_file(monkeypatch, tmp_path: Path):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "made-up name")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError, match=r"out\.txt"):
        files.write_atomically(tmp_path / "out.txt", b"")
