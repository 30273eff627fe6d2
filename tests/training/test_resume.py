"""The resume file: refused when damaged or of another run, never half-written."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch

from abcrown_graft.errors import FileFormatError, SettingsDifferError
from abcrown_graft.training.resume import load_progress, save_progress
from abcrown_graft.training.settings import TrainSettings

SETTINGS = TrainSettings(
    epochs=4, batch_size=8, lr=0.1, momentum=0.9, weight_decay=0.0, epsilon=0.1, validation=5, milestones=(2, 3)
)
DIGITS = {"data": "digits", "data.mean": (0.5,)}
PROGRESS = {"model": {"weight": torch.arange(3.0)}, "history": [{"epoch": 1, "loss": 0.25}]}


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "run.resume"
    assert load_progress(path, SETTINGS, DIGITS) is None
    save_progress(path, SETTINGS, DIGITS, PROGRESS)
    loaded = load_progress(path, SETTINGS, DIGITS)
    assert torch.equal(loaded["model"]["weight"], PROGRESS["model"]["weight"])
    assert loaded["history"] == PROGRESS["history"]
    assert [file.name for file in tmp_path.iterdir()] == ["run.resume"]


@pytest.mark.parametrize(("key", "value"), [("lr", 0.2), ("epochs", 5), ("milestones", (1, 3)), ("seed", 1)])
def test_other_settings_are_refused_and_named(tmp_path: Path, key: str, value: object) -> None:
    path, section = tmp_path / "run.resume", "general" if key == "seed" else "train"
    save_progress(path, SETTINGS, DIGITS, PROGRESS)
    with pytest.raises(SettingsDifferError, match=rf"run\.resume: made with {section}\.{key} = "):
        load_progress(path, dataclasses.replace(SETTINGS, **{key: value}), DIGITS)


def test_other_data_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.resume"
    save_progress(path, SETTINGS, DIGITS, PROGRESS)
    with pytest.raises(SettingsDifferError, match="data = 'digits', this run has 'mnist'"):
        load_progress(path, SETTINGS, {**DIGITS, "data": "mnist"})
    with pytest.raises(SettingsDifferError, match=r"data\.mean = \(0\.5,\), this run has \(0\.4,\)"):
        load_progress(path, SETTINGS, {**DIGITS, "data.mean": (0.4,)})


@pytest.mark.parametrize("kept", [0, 1, 100, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "run.resume"
    save_progress(path, SETTINGS, DIGITS, PROGRESS)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(FileFormatError, match=r"run\.resume: not a complete resume file") as caught:
        load_progress(path, SETTINGS, DIGITS)
    assert "\n" not in str(caught.value)


def test_a_damaged_copy_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    """Half of a byte's bits turned, or the end cut off, at places all over the file."""
    path = tmp_path / "run.resume"
    save_progress(path, SETTINGS, DIGITS, PROGRESS)
    whole = path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 200)):
        for content in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]):
            path.write_bytes(content)
            try:
                loaded = load_progress(path, SETTINGS, DIGITS)
            except FileFormatError as error:
                assert re.fullmatch(rf"{re.escape(str(path))}: .*; delete it to start anew", str(error))
            else:
                assert torch.equal(loaded["model"]["weight"], PROGRESS["model"]["weight"])
                assert loaded["history"] == PROGRESS["history"]


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.resume"
    path.write_text("not a resume file")
    with pytest.raises(FileFormatError, match="delete it"):
        load_progress(path, SETTINGS, {})
    path.write_bytes(b"\x80\x02uN.")  # a pickle of nothing
    with pytest.raises(FileFormatError, match=r"run\.resume: not a complete resume file"):
        load_progress(path, SETTINGS, {})
    torch.save({"weight": torch.zeros(1)}, path)
    with pytest.raises(FileFormatError, match="not a resume file of this version"):
        load_progress(path, SETTINGS, {})
    for lacking in ({}, {"made_by": {}}, {"progress": {}}, {"made_by": None, "progress": {}}):
        torch.save({"format": 2, **lacking}, path)
        with pytest.raises(FileFormatError, match=r"run\.resume: lacks .*; delete it to start anew"):
            load_progress(path, SETTINGS, {})
    torch.save(Path("code"), path)  # an object that would need code to load
    with pytest.raises(FileFormatError, match="not a complete resume file"):
        load_progress(path, SETTINGS, {})
