"""Following a real process: its reports, its end, and that it does not outlive us."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from abcrown_graft.engines.abcrown.process import Ended, Report, follow

HEAD = """
import json, os, signal, sys, time
def report(**values):
    with open(sys.argv[1], "a") as file:
        file.write(json.dumps(values) + "\\n")
"""


def run(folder: Path, program: str) -> list[Report | Ended]:
    """What a program reports."""
    return list(start(folder, program))


def start(folder: Path, program: str, patience: float | None = None):
    reports, log = folder / "reports.jsonl", folder / "log.txt"
    reports.touch()
    return follow([sys.executable, "-c", HEAD + program, str(reports)], reports, log, patience)


def test_reports_come_in_order_and_then_the_end(tmp_path: Path) -> None:
    found = run(tmp_path, "report(a=1)\nreport(b=float('nan'))\nprint('good bye')")
    assert found[0] == {"a": 1} and list(found[1]) == ["b"]
    assert found[2:] == [Ended(0, "good bye")]
    assert found[2].reason == "α,β-CROWN ended with exit code 0: good bye"


def test_a_report_comes_while_the_process_goes_on(tmp_path: Path) -> None:
    reports = start(tmp_path, "report(pid=os.getpid())\nsys.stdin.read()")
    process = next(reports)["pid"]
    os.kill(process, 0)
    reports.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_its_children_end_with_it(tmp_path: Path) -> None:
    program = "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\nreport(pid=child.pid)\ntime.sleep(600)"
    reports = start(tmp_path, program)
    child = next(reports)["pid"]
    reports.close()
    assert_gone(child)


def test_its_children_end_when_it_has_ended_by_itself(tmp_path: Path) -> None:
    program = "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\nreport(pid=child.pid)\nsys.exit(3)"
    report, end = run(tmp_path, program)
    assert end.code == 3
    assert_gone(report["pid"])


def assert_gone(process: int) -> None:
    """Nobody may have waited for it yet."""
    for _ in range(100):
        if not Path(f"/proc/{process}/cmdline").exists() or not Path(f"/proc/{process}/cmdline").read_bytes():
            return
        time.sleep(0.05)
    raise AssertionError("the child's child is still there")


def test_a_process_that_reports_nothing_for_too_long_is_ended(tmp_path: Path) -> None:
    reports = start(tmp_path, "report(pid=os.getpid())\nwhile True: time.sleep(1)", patience=2)
    process = next(reports)["pid"]
    (end,) = reports
    assert end == Ended(None, "α,β-CROWN's process reported nothing for 2 seconds and was ended")
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_patience_starts_anew_with_each_report(tmp_path: Path) -> None:
    reports = start(tmp_path, "for k in range(4):\n    report(k=k)\n    time.sleep(0.5)", patience=60)
    assert [report.get("k") for report in list(reports)[:-1]] == [0, 1, 2, 3]


def test_an_exception_is_its_last_line(tmp_path: Path) -> None:
    (end,) = run(tmp_path, "raise ValueError('no such neuron')")
    assert end == Ended(1, "ValueError: no such neuron")
    assert "Traceback" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize(("number", "killed"), [(signal.SIGKILL, True), (signal.SIGSEGV, False)])
def test_a_killed_process_is_told_from_a_crashed_one(tmp_path: Path, number: signal.Signals, killed: bool) -> None:
    found = run(tmp_path, f"report(a=1)\nprint('at work')\nos.kill(os.getpid(), {int(number)})")
    assert found[0] == {"a": 1} and found[1].code == -number and found[1].killed is killed
    assert ("memory runs out" in found[1].reason) is killed and "at work" in found[1].reason


@pytest.mark.parametrize("line", ("garbage", "[1, 2]", '{"a": 1', "\\xff\\xfe", ""))
def test_a_line_that_is_no_report_ends_it(tmp_path: Path, line: str) -> None:
    program = (
        "report(a=1)\nwith open(sys.argv[1], 'ab') as file:\n"
        f"    file.write(b'{line}\\n')\nreport(b=2)\ntime.sleep(600)"
    )
    found = run(tmp_path, program)
    assert found[0] == {"a": 1} and len(found) == 2
    assert found[1].code is None and not found[1].killed and "no report" in found[1].reason


def test_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    program = (
        "file = open(sys.argv[1], 'a')\nfile.write('{\"a\":')\nfile.flush()\ntime.sleep(0.3)\n"
        "file.write(' 1}\\n{\"cut\": ')\nfile.close()"
    )
    assert run(tmp_path, program) == [{"a": 1}, Ended(0, "it printed nothing")]


def test_the_log_of_an_earlier_process_is_kept_and_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("earlier words\n")
    assert run(tmp_path, "")[-1] == Ended(0, "it printed nothing")
    assert run(tmp_path, "print('now')")[-1] == Ended(0, "now")
    assert (tmp_path / "log.txt").read_text() == "earlier words\nnow\n"


def test_progress_bars_do_not_hide_the_last_words(tmp_path: Path) -> None:
    assert run(tmp_path, "sys.stderr.write('10%\\r20%\\r  \\n')")[-1].words == "20%"


def test_the_child_ends_when_its_parent_is_killed_and_removes_the_job(tmp_path: Path) -> None:
    """It watches its standard input, which the parent holds open."""
    (job := tmp_path / "job").mkdir()
    (job / "instances.safetensors").write_bytes(b"images")
    watch = f"from abcrown_graft.engines.abcrown.child import _end_with_parent\n_end_with_parent({str(job)!r})"
    read, write = os.pipe()
    child = subprocess.Popen([sys.executable, "-c", watch], stdin=read, start_new_session=True)
    os.close(read)
    assert child.poll() is None
    os.close(write)
    assert child.wait(60) == -signal.SIGKILL
    assert not job.exists()


def test_reports_are_json_of_any_number(tmp_path: Path) -> None:
    (report, _) = run(tmp_path, "report(x=float('inf'), y=None)")
    assert report == json.loads('{"x": Infinity, "y": null}')
