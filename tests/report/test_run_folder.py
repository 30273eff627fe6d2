"""Where a run's files are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_runs import RunWriter, finished_run

from abcrown_graft.errors import ConfigError, FileFormatError
from abcrown_graft.report.run_folder import folder_name, open_run


def test_without_a_record_everything_lies_in_one_folder(run: RunWriter) -> None:
    found = open_run(run.folder)
    assert (found.path, found.baseline, found.label, found.seed) == (run.folder, run.folder, None, None)
    assert found.networks() == ["baseline", "grafted"]
    for file in (
        found.results("baseline"),
        found.dump("grafted"),
        found.evaluation("grafted"),
        found.artifact("mask.path"),
    ):
        assert file.is_file() and file.parent == run.folder


@pytest.mark.parametrize("absolute", [False, True])
def test_the_record_names_the_folder_of_the_plain_network(tmp_path: Path, absolute: bool) -> None:
    run = finished_run(tmp_path / "row", tmp_path / "shared")
    run.record(baseline=str(run.baseline) if absolute else "../shared", label="grafting 50 %", ratio=0.5, seed=7)
    found = open_run(run.folder)
    assert (found.label, found.seed) == ("grafting 50 %", 7)
    assert found.results("baseline").resolve() == run.baseline / "verify_baseline.jsonl"
    assert found.results("grafted") == run.folder / "verify_grafted.jsonl"
    assert found.artifact("instability.dump").is_file() and found.artifact("significance.path").is_file()
    assert found.networks() == ["baseline", "grafted"]


def test_a_run_whose_record_leaves_things_open_has_neither_label_nor_seed(run: RunWriter) -> None:
    run.record(baseline=".", label=None, seed=None, ratio=0.5)
    found = open_run(run.folder)
    assert (found.label, found.seed, found.networks()) == (None, None, ["baseline", "grafted"])


def test_a_run_whose_record_names_no_ratio_is_of_the_plain_network_whatever_else_lies_there(run: RunWriter) -> None:
    run.record(baseline=".", label="baseline", ratio=None)
    assert open_run(run.folder).networks() == ["baseline"]
    (run.folder / "verify_baseline.jsonl").unlink()
    with pytest.raises(FileFormatError, match="holds no verify_baseline.jsonl"):
        open_run(run.folder)


def test_settings_are_those_of_the_tuning_with_the_folders_of_today(run: RunWriter) -> None:
    settings = open_run(run.folder).settings()
    assert settings is not None and settings["tune.slope"] == 0.5
    assert settings["pipeline.output"] == settings["pipeline.baseline"] == str(run.folder)
    (run.folder / "tune.config.yaml").unlink()
    assert open_run(run.folder).settings() is None


def test_a_file_that_the_settings_put_elsewhere_is_found_there(run: RunWriter, tmp_path: Path) -> None:
    with open(run.folder / "tune.config.yaml", "a") as file:
        file.write(f"mask: {{path: {tmp_path}/mine.safetensors}}\n")
    assert open_run(run.folder).artifact("mask.path") == tmp_path / "mine.safetensors"


def test_damaged_settings_are_named(run: RunWriter) -> None:
    (run.folder / "tune.config.yaml").write_text("tune: {slop: 1}")
    with pytest.raises(ConfigError, match="tune.config.yaml"):
        open_run(run.folder).settings()


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"baseline": "nowhere"}, "baseline: .*nowhere: no such folder"),
        ({"baseline": 3}, "baseline: 3 is no str"),
        ({"seed": "a"}, "seed: 'a' is no int"),
        ({"seed": True}, "seed: True is no int"),
        ({"label": ["a"]}, "label: "),
    ],
)
def test_a_wrong_record_is_named(run: RunWriter, record: dict[str, object], told: str) -> None:
    run.record(**record)
    with pytest.raises(FileFormatError, match=f"run.json: {told}"):
        open_run(run.folder)


def test_a_run_that_has_not_measured_its_grafted_network_yet_is_unfinished(run: RunWriter) -> None:
    run.record(baseline=".", ratio=0.5)
    (run.folder / "verify_grafted.jsonl").unlink()
    with pytest.raises(FileFormatError, match="verify_grafted.jsonl: no such file; finish the run"):
        open_run(run.folder)


def test_a_folder_is_called_by_more_than_its_seed(tmp_path: Path) -> None:
    assert folder_name(tmp_path / "graft50" / "seed_100") == "graft50/seed_100"
    assert folder_name(tmp_path / "graft50") == "graft50"
