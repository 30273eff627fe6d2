"""Tasks are done in order, whatever happens to the processes that do them."""

from __future__ import annotations

import math
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_abcrown import FOUND, FakeProcess, leave, safe

from abcrown_graft.config.load import load_config
from abcrown_graft.engines.abcrown import run
from abcrown_graft.engines.abcrown.job import LAST, Task
from abcrown_graft.engines.abcrown.process import Ended
from abcrown_graft.engines.abcrown.run import Finding, do_tasks, patience
from abcrown_graft.errors import EngineError

TASKS = [Task(index, row, True) for row, index in enumerate((4, 2, 8))]
KILLED = Ended(-signal.SIGKILL, "BaB round 3")


def done(folder: Path, tasks: list[Task] = TASKS, **command: Any) -> list[Finding]:
    values = {"model.name": "digits_cnn"}
    found = do_tasks(load_config(None, values), FOUND, {"x": torch.ones(1)}, tasks, folder / "log.txt", **command)
    return list(found)


def with_process(monkeypatch: pytest.MonkeyPatch, process: FakeProcess) -> FakeProcess:
    monkeypatch.setattr(run, "follow", process)
    return process


def test_one_process_does_all_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = with_process(monkeypatch, FakeProcess(lambda job, task: safe(float(task.index))))
    found = done(tmp_path)
    assert [finding.task for finding in found] == TASKS and process.jobs == [[4, 2, 8]]
    assert [finding.report["lower"] for finding in found] == [4.0, 2.0, 8.0]


def test_without_tasks_no_process_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = with_process(monkeypatch, FakeProcess(lambda job, task: safe()))
    assert done(tmp_path, []) == [] and process.jobs == []


def test_a_killed_process_costs_the_task_that_it_was_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = with_process(monkeypatch, FakeProcess(lambda job, task: KILLED if task.index == 2 else safe()))
    found = done(tmp_path)
    assert [finding.task.index for finding in found] == [4, 2, 8] and process.jobs == [[4, 2, 8], [8]]
    assert found[1].report["out_of_memory"] is True and "was killed" in found[1].report["error"]
    assert [finding.report.get("status") for finding in found] == ["safe-incomplete", None, "safe-incomplete"]


def test_a_process_that_dies_of_every_task_is_started_once_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = with_process(monkeypatch, FakeProcess(lambda job, task: Ended(1, "ValueError: x")))
    found = done(tmp_path)
    assert process.jobs == [[4, 2, 8], [2, 8], [8]]
    assert {finding.report["error"] for finding in found} == {"α,β-CROWN ended with exit code 1: ValueError: x"}
    assert not any(finding.report["out_of_memory"] for finding in found)


def test_an_exit_without_a_word_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """α,β-CROWN ends with exit code 0 where it cannot load a model."""
    with_process(monkeypatch, FakeProcess(lambda job, task: safe(), Ended(0, "Cannot load pytorch model"), ready=False))
    with pytest.raises(
        EngineError, match=r"did not start: .* exit code 0: Cannot load .*; its output is in .*log\.txt"
    ):
        done(tmp_path)


def test_an_early_exit_with_code_0_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_process(monkeypatch, FakeProcess(lambda job, task: Ended(0, "exit()") if task.index == 8 else safe()))
    assert done(tmp_path)[2].report["error"] == "α,β-CROWN ended with exit code 0: exit()"


def test_a_process_that_says_why_it_cannot_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        run, "follow", lambda *_: (report for report in [{"failed": "ModelError: differs"}, Ended(1, "x")])
    )
    with pytest.raises(EngineError, match="did not start: ModelError: differs; its output is in"):
        done(tmp_path)


def test_a_process_that_fails_at_a_task_costs_that_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(job, task):
        return {"failed": "OSError: no space left"} if task.index == 2 else safe()

    process = with_process(monkeypatch, FakeProcess(answer))
    found = done(tmp_path)
    assert [finding.report.get("error") for finding in found] == [None, "OSError: no space left", None]
    assert process.jobs == [[4, 2, 8], [8]]


def test_what_is_out_of_turn_before_it_is_ready_is_no_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "follow", lambda *_: (report for report in [{"index": 8, **safe()}, Ended(0, "x")]))
    with pytest.raises(EngineError, match=r"did not start: .*reported on image 8 out of turn"):
        done(tmp_path)


def test_after_a_last_report_another_process_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(job, task):
        broken = {"error": "RuntimeError: CUDA error", "out_of_memory": False, "seconds": 1.0, LAST: True}
        return broken if task.index == 2 else safe()

    process = with_process(monkeypatch, FakeProcess(answer))
    found = done(tmp_path)
    assert [finding.report.get("error") for finding in found] == [None, "RuntimeError: CUDA error", None]
    assert process.jobs == [[4, 2, 8], [8]]


@pytest.mark.parametrize(
    ("timeouts", "seconds"),
    [
        ({}, 4200.0),
        ({"bab.timeout": 60.0}, 1200.0),
        ({"bab.timeout": 60.0, "bab.override_timeout": 90.0}, 1500.0),
        ({"bab.timeout": math.inf}, None),
    ],
)
def test_a_process_is_waited_for_far_beyond_the_timeout(timeouts: dict[str, float], seconds: float | None) -> None:
    assert patience(load_config(None, timeouts)) == seconds


def test_the_process_is_followed_with_that_patience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    process = FakeProcess(lambda job, task: safe())
    monkeypatch.setattr(run, "follow", lambda *words: (told.append(words[3]), process(*words))[1])
    done(tmp_path)
    assert told == [4200.0]


@pytest.mark.parametrize("index", (8, 99, None, "4"))
def test_reports_out_of_turn_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: object) -> None:
    lines = [{"ready": True}, {"index": index, **safe()}, {"index": 4, **safe()}]
    monkeypatch.setattr(run, "follow", lambda *_: (report for report in [*lines, Ended(0, "x")]))
    assert "out of turn" in done(tmp_path)[0].report["error"]


def test_more_reports_than_tasks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [{"ready": True}, *({"index": index, **safe()} for index in (4, 2, 8, 8))]
    monkeypatch.setattr(run, "follow", lambda *_: (report for report in [*lines, Ended(0, "x")]))
    assert [finding.report["status"] for finding in done(tmp_path)] == ["safe-incomplete"] * 3


def test_tensors_come_with_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(job, task):
        if task.index == 2:
            leave(job, task, {"counterexample": torch.full((3,), 0.5)})
        return safe()

    with_process(monkeypatch, FakeProcess(answer))
    found = done(tmp_path)
    assert [sorted(finding.tensors) for finding in found] == [[], ["counterexample"], []]
    assert found[1].tensors["counterexample"].tolist() == [0.5] * 3


def test_damaged_tensors_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(job, task):
        job.finding(task.index).write_bytes(b"half a fi")
        return safe()

    with_process(monkeypatch, FakeProcess(answer))
    assert all("not a complete safetensors file" in finding.report["error"] for finding in done(tmp_path))


def test_a_real_process_is_followed_and_its_folder_is_gone_afterwards(tmp_path: Path) -> None:
    program = (
        "import json, os, sys\nfolder = sys.argv[1]\ntold = json.load(open(folder + '/job.json'))\n"
        "print('working in', folder)\n"
        "with open(folder + '/reports.jsonl', 'a', buffering=1) as file:\n"
        "    print(json.dumps({'ready': True}), file=file)\n"
        "    for task in told['tasks']:\n"
        "        if task['index'] == 2: file.flush(); os.kill(os.getpid(), 9)\n"
        "        report = {'index': task['index'], 'status': 'safe', 'seconds': 1, 'lower': None, 'timeout': 9}\n"
        "        print(json.dumps(report), file=file)\n"
    )
    found = done(tmp_path, child=(sys.executable, "-c", program))
    assert [finding.report.get("status") for finding in found] == ["safe", None, "safe"]
    assert found[1].report["out_of_memory"] is True
    folders = {line.split()[-1] for line in (tmp_path / "log.txt").read_text().splitlines()}
    assert len(folders) == 2 and not any(Path(folder).exists() for folder in folders)
