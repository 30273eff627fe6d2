"""The report of one run or several."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from command_line import Listener, miniature

from abcrown_graft.errors import FileFormatError
from abcrown_graft.graft.identity import ModelIdentity
from abcrown_graft.instability.dump import add, empty
from abcrown_graft.pipeline.reporting import report_stage, write_report
from abcrown_graft.verify.results import ResultsFile
from abcrown_graft.verify.verdict import InstanceResult, Verdict

ROW = "| {run} | baseline | 0.00 | 25.00 | 25.00 | 100.00 | 50.00 | 25.00 | 2.000 | 0/1 |"


def write_run(folder: Path) -> Path:
    """One verified image with one of four neurons unstable, proved in two seconds."""
    results = ResultsFile(folder / "verify_baseline.jsonl", {})
    results.append(InstanceResult(0, 1, 1, Verdict.VERIFIED, "safe-incomplete", 2.0))
    results.complete()
    dump = add(empty(ModelIdentity("a", "w", {"1": (4,)}), {}, {}), [0], {"1": torch.tensor([[1, 0, 0, 0]]).bool()})
    dump.save(folder / "verify_baseline_instability.safetensors")
    found = {"standard_accuracy": 0.5, "robust_accuracy": 0.25, "images": 4}
    (folder / "evaluation_baseline.json").write_text(json.dumps(found))
    return folder


def test_the_stage_reports_on_its_own_output(tmp_path: Path) -> None:
    write_run(tmp_path / "out")
    path = report_stage(miniature(tmp_path), Listener())
    assert path == tmp_path / "out" / "report.md"
    assert ROW.format(run="out") in path.read_text().splitlines()


def test_the_report_goes_where_it_is_wanted(tmp_path: Path) -> None:
    write_run(tmp_path / "out")
    path = report_stage(miniature(tmp_path, report__path=str(tmp_path / "tables" / "mine.md")), Listener())
    assert path == tmp_path / "tables" / "mine.md" and path.is_file()


def test_several_runs_are_rows_in_the_order_given(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name) for name in ("second", "first")]
    outcomes = write_report(runs, tmp_path / "report.md")
    assert [outcome.run for outcome in outcomes] == ["second", "first"]
    rows = [line for line in (tmp_path / "report.md").read_text().splitlines() if "| baseline |" in line]
    assert rows == [ROW.format(run="second"), ROW.format(run="first")]


def test_without_a_path_nothing_is_written(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    assert len(write_report([run], None)) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_one_unfinished_run_leaves_an_earlier_report_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text("earlier")
    with pytest.raises(FileFormatError, match="holds no verify_baseline.jsonl"):
        (tmp_path / "empty").mkdir()
        write_report([write_run(tmp_path / "run"), tmp_path / "empty"], tmp_path / "report.md")
    assert (tmp_path / "report.md").read_text() == "earlier"
