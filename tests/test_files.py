from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from abcrown_graft import files
from abcrown_graft.errors import FileFormatError
from abcrown_graft.files import append_record, load_tensors, read_safetensors, save_tensors, write_atomically

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(True), "c": torch.zeros(0, 2, dtype=torch.int64)}


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def raw(path: Path, header: str | None) -> Path:
    """A safetensors file with that text as this package's header entry."""
    path.write_bytes(save(TENSORS, metadata=None if header is None else {files.HEADER: header}))
    return path


class TestAtomicWrites:
    def test_missing_folders_are_made_and_old_content_replaced(self, tmp_path):
        path = tmp_path / "a" / "b" / "file.bin"
        for text in (b"first", b"second, longer", b""):
            write_atomically(path, text)
            assert content(path.parent) == {"file.bin": text}

    @pytest.mark.parametrize("failing", ["fsync", "replace", "chmod"])
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


class TestTensors:
    def test_they_come_back_with_their_header(self, tmp_path):
        path = tmp_path / "new" / "file.safetensors"
        view = torch.arange(12.0).reshape(3, 4).T
        learned = torch.nn.Parameter(torch.ones(2))
        save_tensors(path, "mask", {**TENSORS, "view": view, "same": view, "learned": learned}, {"note": "ε", "n": [1]})
        tensors, header = load_tensors(path, "mask")
        assert {name: tensor.dtype for name, tensor in TENSORS.items()} == {n: tensors[n].dtype for n in TENSORS}
        assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())
        assert torch.equal(tensors["view"], view) and torch.equal(tensors["same"], view)
        assert torch.equal(tensors["learned"], torch.ones(2)) and not tensors["learned"].requires_grad
        assert (header["kind"], header["format"], header["note"], header["n"]) == ("mask", 1, "ε", [1])

    def test_provenance_cannot_change_what_the_file_is(self, tmp_path):
        save_tensors(tmp_path / "f", "mask", TENSORS, {"kind": "scores", "format": 7})
        assert load_tensors(tmp_path / "f", "mask")[1]["format"] == 1

    def test_a_header_that_is_no_json_leaves_the_old_file(self, tmp_path):
        path = tmp_path / "file.safetensors"
        save_tensors(path, "mask", TENSORS, {})
        before = content(tmp_path)
        with pytest.raises(TypeError):
            save_tensors(path, "mask", TENSORS, {"note": object()})
        assert content(tmp_path) == before

    def test_files_that_cannot_be_meant_are_refused(self, tmp_path):
        path = tmp_path / "file.safetensors"
        with pytest.raises(FileFormatError, match=r"file\.safetensors: no such file$"):
            load_tensors(path, "mask")
        with pytest.raises(FileFormatError, match=r": no such file$"):
            load_tensors(tmp_path, "mask")
        save_tensors(path, "instability", TENSORS, {})
        with pytest.raises(FileFormatError, match=r"this is a 'instability' file, expected 'mask'"):
            load_tensors(path, "mask")

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            (None, "without this package's header, expected a mask file"),
            ('{"kind": "mask", "format": 2}', r"mask format 2 is newer than this version reads \(1\)"),
            ('{"kind": "mask"}', "mask format None"),
            ('{"format": 1}', "this is a None file, expected 'mask'"),
            ('{"kind": "mask", ', "not a complete safetensors file"),
            ("", "not a complete safetensors file"),
            ("[1]", "the header is not a JSON object"),
            ("null", "without this package's header"),
        ],
    )
    def test_headers_that_are_not_ours_are_refused(self, tmp_path, header, message):
        with pytest.raises(FileFormatError, match=rf"^\S*file\.safetensors: .*{message}"):
            load_tensors(raw(tmp_path / "file.safetensors", header), "mask")

    def test_the_safetensors_of_others_have_no_header(self, tmp_path):
        tensors, header = read_safetensors(raw(tmp_path / "file.safetensors", None))
        assert header is None
        assert set(tensors) == set(TENSORS)

    def test_a_file_cut_off_anywhere_is_refused(self, tmp_path):
        path = tmp_path / "file.safetensors"
        save_tensors(path, "mask", TENSORS, {"note": "x" * 50})
        whole = path.read_bytes()
        message = r"^\S*file\.safetensors: not a complete safetensors file \([^\n]*\)$"
        for cut in range(len(whole)):
            path.write_bytes(whole[:cut])
            with pytest.raises(FileFormatError, match=message):
                load_tensors(path, "mask")

    def test_files_of_other_formats_are_refused(self, tmp_path):
        for text in (b"model:\n  name: cnn_a\n" * 20, b"\x80\x04\x95" + bytes(200), b"\xff" * 64):
            (tmp_path / "file.safetensors").write_bytes(text)
            with pytest.raises(FileFormatError, match="not a complete safetensors file"):
                read_safetensors(tmp_path / "file.safetensors")


def test_a_folder_that_cannot_be_written_to_is_told_by_the_name_of_the_file(monkeypatch, tmp_path: Path):
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied", "made-up name")

    monkeypatch.setattr(files.tempfile, "mkstemp", refuse)
    with pytest.raises(PermissionError, match=r"out\.txt"):
        files.write_atomically(tmp_path / "out.txt", b"")
