"""`abcrown --engine abcrown` and `--engine auto`: the native engine's lines, summary and exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_line import Finished, run_main
from fake_abcrown import Answer, FakeProcess, lirpa_folder, safe, verifier_folder

from abcrown_graft.cli.abcrown import main
from abcrown_graft.engines.abcrown import locate, run
from abcrown_graft.engines.abcrown.process import Ended

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and a complete α,β-CROWN that ABCROWN_HOME names."""
    place = verifier_folder(tmp_path / "checkout")
    lirpa_folder(place / "auto_LiRPA")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(locate, "REQUIRED", ())
    monkeypatch.setenv("ABCROWN_HOME", str(place))
    return place


def command(monkeypatch: pytest.MonkeyPatch, answer: Answer, *words: str, **process: object) -> Finished:
    """The command line on the first images of a grafted network."""
    monkeypatch.setattr(run, "follow", FakeProcess(answer, **process))
    return run_main(main, "--config", "digits_graft", "--end", "3", *words)


def test_verdicts_summary_and_engine_are_printed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = command(monkeypatch, lambda job, task: safe(0.25), "--engine", "abcrown")
    assert (found.code, found.err) == (0, "")
    lines = found.out.splitlines()
    pattern = r"idx: \d, label: \d, predicted: \d, Result: safe-incomplete in 1\.\d{4} seconds, margin at least 0\.25"
    assert all(re.fullmatch(pattern, line) for line in lines[:3])
    assert "Final verified acc: 100.0% (total 3 examples)" in lines
    assert "safe-incomplete (total 3), index: [0, 1, 2]" in lines
    log = Path.cwd() / "out.txt.log"
    assert lines[-2:] == [
        f"engine: abcrown (α,β-CROWN 0.7.0, auto_LiRPA 0.7.1, cpu, float32; its output: {log})",
        f"results file: {Path.cwd() / 'out.txt'}",
    ]


def test_auto_says_first_which_engine_runs_and_why(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = command(monkeypatch, lambda job, task: safe())
    assert found.code == 0
    assert found.out.splitlines()[0] == f"engine: abcrown (auto: α,β-CROWN 0.7.0 from ABCROWN_HOME {home})"
    refused = command(monkeypatch, lambda job, task: safe(), "--test_core", "--complete_verifier", "skip")
    assert refused.code == 0
    assert refused.out.startswith("engine: native (auto, not α,β-CROWN: flag --test_core: ")


def test_an_older_auto_lirpa_is_warned_of(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTO_LIRPA_HOME", str(lirpa_folder(home / "old", "0.7.0")))
    found = command(monkeypatch, lambda job, task: safe(), "--engine", "abcrown")
    assert found.out.startswith("warning: auto_LiRPA 0.7.0 is older than 0.7.1: linear programs are refused\nidx: 0")


def test_failed_images_make_the_exit_code_1(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = command(monkeypatch, lambda job, task: Ended(-9, "BaB round 3") if task.index == 1 else safe(float("nan")))
    assert found.code == 1
    assert found.err.splitlines() == [
        "error: image 0: α,β-CROWN says 'safe-incomplete' with a lower bound of nan",
        "error: image 2: α,β-CROWN says 'safe-incomplete' with a lower bound of nan",
    ]
    assert "out-of-memory (total 1), index: [1]" in found.out and "Final verified acc: 0.0%" in found.out


def test_a_process_that_does_not_start_is_one_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end = Ended(0, "Cannot load pytorch model definition")
    found = command(monkeypatch, lambda job, task: safe(), "--engine", "abcrown", end=end, ready=False)
    assert found.code == 2 and found.err.count("\n") == 1
    assert found.err.startswith("error: α,β-CROWN did not start: α,β-CROWN ended with exit code 0: Cannot load")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--enable_cut",), "cuts know ReLU only, not grafted neurons"),
        (("--branching_method", "kfsb-intercept-only"), "it chooses grafted neurons"),
        (("--vanilla_crown_bab",), "or insist with --allow_unsound"),
        (("--test_core",), "debug.test_core = true is not implemented by the abcrown engine"),
        (("--norm", "2"), "specification.norm: 2.0 is not implemented here"),
        (("--graft_mask", "nowhere.st"), "nowhere.st: no such file"),
        (("--load_model", "nowhere.st"), "model.path: nowhere.st: no such file"),
        (("--std", "1", "1"), "data.std"),
        (("--num_outputs", "3"), "data.num_outputs: 3, the model has 10 outputs"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_refusals_are_one_line_and_write_nothing(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], told: str
) -> None:
    found = command(monkeypatch, lambda job, task: safe(), "--engine", "abcrown", *words)
    assert found.code == 2 and found.out == ""
    assert told in found.err and found.err.count("\n") == 1
    assert list(Path.cwd().iterdir()) == []
