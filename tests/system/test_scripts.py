"""`python scripts/STAGE.py` is `abcrown-graft STAGE`, from the checkout or from anywhere."""

from __future__ import annotations

import importlib
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from command_line import run_main

from abcrown_graft.cli import tools
from abcrown_graft.cli.commands import COMMANDS

FOLDER = Path(next(iter(find_spec("abcrown_graft.scripts").submodule_search_locations)))


def run_script(stage: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    script = FOLDER / f"{stage}.py"
    command = [sys.executable, str(script.relative_to(cwd) if cwd == FOLDER.parent else script), *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def test_there_is_a_script_for_every_stage_and_no_other() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} - {"__init__"} == set(COMMANDS)


@pytest.mark.parametrize("stage", COMMANDS)
def test_the_help_of_a_script_is_that_of_its_stage(
    stage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as by_stage:
        tools.main([stage, "--help"])
    expected = capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [str(FOLDER / f"{stage}.py"), "--help"])
    with pytest.raises(SystemExit) as by_script:
        runpy.run_path(str(FOLDER / f"{stage}.py"), run_name="__main__")
    assert by_stage.value.code == by_script.value.code == 0
    assert capsys.readouterr().out == expected
    assert f"usage: abcrown-graft {stage}" in expected


@pytest.mark.parametrize("stage", COMMANDS)
def test_a_script_says_what_it_is_and_can_be_imported_without_doing_anything(stage: str) -> None:
    module = importlib.import_module(f"abcrown_graft.scripts.{stage}")
    assert f"`python scripts/{stage}.py` is `abcrown-graft {stage}`" in module.__doc__


@pytest.mark.parametrize("place", ("checkout", "elsewhere"))
def test_a_script_runs_by_its_path(place: str, tmp_path: Path) -> None:
    found = run_script("report", str(tmp_path), cwd=FOLDER.parent if place == "checkout" else tmp_path)
    expected = run_main(tools.main, "report", tmp_path)
    assert (found.returncode, found.stdout, found.stderr) == (expected.code, expected.out, expected.err)
    assert found.returncode == 2 and "holds no verify_baseline.jsonl" in found.stderr
    assert list(tmp_path.iterdir()) == []
