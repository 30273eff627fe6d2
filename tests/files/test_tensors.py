"""Files of tensors come back as they were written; others are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from abcrown_graft import files
from abcrown_graft.errors import FileFormatError
from abcrown_graft.files import load_tensors, read_safetensors, save_tensors

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(True), "c": torch.zeros(0, 2, dtype=torch.int64)}


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def raw(path: Path, header: str | None) -> Path:
    """A safetensors file with that text as this package's header entry."""
    path.write_bytes(save(TENSORS, metadata=None if header is None else {files.HEADER: header}))
    return path


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
        with pytest.raises(FileFormatError, match=r"this is a folder, not a file"):
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
            ("[" * 100_000, r"not a complete safetensors file \(nested more than 100 deep\)"),
            ('{"kind": ' + "[" * 101 + "]" * 101 + "}", r"nested more than 100 deep"),
            ('{"kind": "\\ud800"}', "not a complete safetensors file"),
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
