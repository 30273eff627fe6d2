"""What the pipeline remembers of its stages."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from other_process import holding

from abcrown_graft.assembly.ledger import Ledger, hashes
from abcrown_graft.errors import FileFormatError, SettingsDifferError


def test_hashes_are_those_of_the_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    assert hashes([tmp_path / "a", tmp_path / "missing"]) == [hashlib.sha256(b"content").hexdigest(), None]


def test_a_stage_is_unknown_then_begun_then_finished(tmp_path: Path) -> None:
    path, before = tmp_path / "stages.json", {"settings": "s", "reads": [None]}
    ledger = Ledger(path)
    assert not ledger.is_begun("mask", before) and ledger.left("mask", before) is None
    assert not path.exists(), "looking writes nothing"
    ledger.note("mask", before)
    assert Ledger(path).is_begun("mask", before) and Ledger(path).left("mask", before) is None
    ledger.note("mask", before, ["hash"])
    assert Ledger(path).left("mask", before) == ["hash"]
    assert Ledger(path).read("mask") == [None] and Ledger(path).read("tune") is None


def test_a_stage_that_did_nothing_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "stages.json"
    ledger = Ledger(path)
    ledger.note("mask", {"settings": "s"}, ["hash"])
    before, tune, mask = path.read_bytes(), ledger.entry("tune"), ledger.entry("mask")
    ledger.note("tune", {"settings": "s"})
    ledger.put("tune", tune)
    assert path.read_bytes() == before
    ledger.note("mask", {"settings": "other"})
    ledger.put("mask", mask)
    assert path.read_bytes() == before
    ledger.put("mask", tune)
    assert not path.exists()


def test_other_inputs_or_settings_are_another_stage(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "stages.json")
    ledger.note("mask", {"settings": "s"}, ["hash"])
    assert not ledger.is_begun("mask", {"settings": "t"})
    assert ledger.left("mask", {"settings": "t"}) is None
    assert ledger.left("tune", {"settings": "s"}) is None


def test_an_entry_of_another_form_is_no_memory(tmp_path: Path) -> None:
    (tmp_path / "stages.json").write_text(json.dumps({"mask": ["?"]}))
    assert not Ledger(tmp_path / "stages.json").is_begun("mask", {})


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stages.json").write_text("{")
    with pytest.raises(FileFormatError, match=r"stages\.json: not a readable JSON file"):
        Ledger(tmp_path / "stages.json")


def test_one_process_at_a_time_changes_a_folder(tmp_path: Path) -> None:
    path, lock = tmp_path / "stages.json", tmp_path / "stages.json.lock"
    ledger, other = Ledger(path), Ledger(path)
    with holding(path) as process:
        with pytest.raises(SettingsDifferError, match=rf"stages.json: process {process.pid} on \S+ is writing to it"):
            ledger.in_use().__enter__()
    with ledger.in_use():
        assert lock.exists()
        ledger.note("mask", {"settings": "s"}, ["hash"])
    assert not lock.exists()
    with other.in_use():
        other.note("tune", {"settings": "s"})
    assert Ledger(path).left("mask", {"settings": "s"}) == ["hash"], "what was noted meanwhile is not lost"
