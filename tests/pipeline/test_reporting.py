"""The report of one run or several."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from command_line import Listener, miniature, run_main
from report_runs import finished_run

from abcrown_graft.cli import tools
from abcrown_graft.errors import ConfigError, FileFormatError, UnsupportedError
from abcrown_graft.formats.results import ResultsFile
from abcrown_graft.masks.dump import add, empty
from abcrown_graft.masks.identity import ModelIdentity
from abcrown_graft.pipeline.reporting import check_report, report_files, report_stage, write_report
from abcrown_graft.verdict import InstanceResult, Verdict

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


def test_html_has_its_tables_beside_it(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = finished_run(tmp_path / "run").folder
    write_report([run], tmp_path / "out" / "r.html")
    found = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert sorted(found) == ["r.csv", "r.html", "r.md"]
    assert found["r.html"].startswith("<!DOCTYPE html>") and "### Outcomes before and after" in found["r.md"]
    assert found["r.csv"].startswith("row,run,network,")


def test_csv_is_the_table_alone(tmp_path: Path) -> None:
    write_report([write_run(tmp_path / "run")], tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_text().splitlines()[1].startswith("run,run,baseline,baseline,,0.0,0.25,")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.csv", "run"]


def test_the_files_of_a_report() -> None:
    assert report_files(Path("a/r.HTML")) == (Path("a/r.HTML"), Path("a/r.md"), Path("a/r.csv"))
    assert report_files(Path("r.md")) == (Path("r.md"),)


@pytest.mark.parametrize("name", ["report.pdf", "report", "report.html.gz"])
def test_another_format_is_refused_before_anything_is_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"report.path: .*; name a .html, .md or .csv file"):
        write_report([tmp_path / "nowhere"], tmp_path / name)


def test_plots_need_matplotlib_and_tables_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished_run(tmp_path / "run").folder
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    check_report(Path("r.md"))
    write_report([run], tmp_path / "r.md")
    with pytest.raises(UnsupportedError, match="needs matplotlib"):
        write_report([run], tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_the_command_writes_the_report_and_names_it(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = finished_run(tmp_path / "run").folder
    found = run_main(tools.main, "report", run, "--report_path", tmp_path / "r.html")
    assert found.code == 0 and found.out.splitlines()[-1] == f"report: {tmp_path}/r.html"


def test_a_dump_of_another_model_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = finished_run(tmp_path / "run").folder
    write_run(tmp_path / "other")
    dump = "verify_baseline_instability.safetensors"
    (tmp_path / "other" / dump).rename(run / dump)
    found = run_main(tools.main, "report", run, "--report_path", tmp_path / "r.html")
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1)
    assert f"{dump}: of another network" in found.err
    assert not (tmp_path / "r.html").exists()
