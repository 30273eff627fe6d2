"""`run.json`: what a run is called and where its plain network lies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import miniature
from registering import registered

from abcrown_graft.assembly.record import label, record_path, run_record, write_record
from abcrown_graft.masks.presets import PRESETS

PRUNED = {"mask__preset": "insignificant", "tune__prune": True}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "grafting 50 %"),
        ({"mask__ratio": 0.8}, "grafting 80 %"),
        ({"mask__ratio": 0.125}, "grafting 12.5 %"),
        ({"mask__preset": "random"}, "random 50 %"),
        ({"mask__preset": "random", "significance__method": "magnitude"}, "random 50 %"),
        ({"mask__preset": "thesis"}, "grafting (thesis) 50 %"),
        ({"mask__preset": "unstable"}, "grafting by r_u 50 %"),
        ({"mask__preset": "insignificant"}, "grafting by -r_s 50 %"),
        ({"mask__preset": "fixed", "mask__gamma": 1.0}, "grafting by r_u - r_s 50 %"),
        ({"mask__preset": "fixed", "mask__gamma": 2.0}, "grafting by 2 r_u - r_s 50 %"),
        ({"significance__method": "variance"}, "grafting (variance) 50 %"),
        ({"mask__granularity": "channel"}, "grafting 50 %, by channel"),
        ({"tune__freeze_weights": True}, "grafting 50 %, weights frozen"),
        ({"tune__fit_lines": True}, "grafting 50 %, fitted lines"),
        ({**PRUNED, "significance__method": "magnitude"}, "SAP 50 %"),
        ({**PRUNED, "significance__method": "gradient"}, "GAP 50 %"),
        ({**PRUNED, "significance__method": "learned", "mask__ratio": 0.3}, "Hydra 30 %"),
        ({**PRUNED, "significance__method": "variance"}, "pruning (grafting by -r_s (variance)) 50 %"),
        ({"tune__prune": True}, "pruning (grafting) 50 %"),
        ({"pipeline__networks": "baseline"}, "baseline"),
        ({"pipeline__networks": "baseline", "train__method": "crown-ibp"}, "baseline (crown-ibp)"),
        ({"pipeline__label": "mine"}, "mine"),
        ({"pipeline__networks": "baseline", "pipeline__label": "CROWN-IBP"}, "CROWN-IBP"),
    ],
)
def test_the_method_in_words(tmp_path: Path, changed: dict[str, object], expected: str) -> None:
    assert label(miniature(tmp_path, **changed)) == expected


def test_a_preset_without_a_label_is_called_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registered(monkeypatch, PRESETS, "mine")(PRESETS["fixed"])
    assert label(miniature(tmp_path, mask__preset="mine")) == "grafting (mine) 50 %"


def test_the_record_of_a_run_with_a_baseline_of_its_own_folder(tmp_path: Path) -> None:
    config = miniature(tmp_path, pipeline__baseline=str(tmp_path / "there" / "base"), mask__ratio=0.3)
    write_record(config)
    assert record_path(config) == tmp_path / "out" / "run.json"
    assert json.loads(record_path(config).read_text()) == {
        "baseline": "../there/base",
        "label": "grafting 30 %",
        "preset": "paper",
        "ratio": 0.3,
        "seed": 3,
    }


def test_the_record_of_a_plain_network(tmp_path: Path) -> None:
    found = run_record(miniature(tmp_path, pipeline__networks="baseline", general__seed=7))
    assert found == {"baseline": ".", "label": "baseline", "preset": None, "ratio": None, "seed": 7}


def test_a_record_that_is_right_is_left_alone(tmp_path: Path) -> None:
    write_record(miniature(tmp_path))
    before = (tmp_path / "out" / "run.json").stat().st_mtime_ns
    write_record(miniature(tmp_path))
    assert (tmp_path / "out" / "run.json").stat().st_mtime_ns == before
    write_record(miniature(tmp_path, mask__ratio=0.1))
    assert json.loads((tmp_path / "out" / "run.json").read_text())["ratio"] == 0.1
