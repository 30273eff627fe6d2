"""SIGINT, SIGTERM and SIGHUP let a command tidy up; the exit code names the signal."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest
from other_process import python

from abcrown_graft.cli.signals import ENDING, ending_signals_interrupt
from abcrown_graft.lock import in_use

PROGRAM = """
import signal, sys
from pathlib import Path
from abcrown_graft.cli.errors import guarded
from abcrown_graft.files import write_atomically
from abcrown_graft.lock import in_use

def command():
    {body}
    return 0

{before}
sys.exit(guarded(command))
"""


def program(body: str, before: str = "") -> str:
    return PROGRAM.format(body=body.strip().replace("\n", "\n    "), before=before)


WRITING = """
with in_use(Path(sys.argv[1]), "wait"):
    import os
    whole = os.fsync
    def stop(descriptor):
        whole(descriptor)
        print("writing", flush=True)
        sys.stdin.read()
    os.fsync = stop
    write_atomically(sys.argv[1], b"new")
"""
TIDYING = """
try:
    print("working", flush=True)
    sys.stdin.read()
finally:
    print("tidying", flush=True)
    sys.stdin.read()
    print("tidied", flush=True)
"""
FOLLOWING = """
from abcrown_graft.engines.abcrown.process import follow
reports = Path(sys.argv[1]) / "reports"
reports.touch()
for report in follow([sys.executable, "-c", sys.argv[2], sys.argv[1]], reports, Path(sys.argv[1]) / "log"):
    print(report, flush=True)
"""
CHILD = """
import sys, time
from pathlib import Path
from abcrown_graft.files import append_record
from abcrown_graft.lock import in_use
with in_use(Path(sys.argv[1]) / "of_the_child", "wait"):
    append_record(Path(sys.argv[1]) / "reports", {"ready": True})
    while True:
        time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, *ENDING])
def test_the_lock_and_the_temporary_file_go_and_the_old_file_stays(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "out.txt").write_bytes(b"old")
    with python(program(WRITING), tmp_path / "out.txt") as process:
        assert len(list(tmp_path.iterdir())) == 3
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert (out, err) == ("", "interrupted; run the same command again to go on\n")
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]
    assert (tmp_path / "out.txt").read_bytes() == b"old"


@pytest.mark.parametrize("number", ENDING)
def test_processes_that_the_command_started_are_ended(tmp_path: Path, number: signal.Signals) -> None:
    with python(program(FOLLOWING), tmp_path, CHILD) as process:
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == 128 + number
    with in_use(tmp_path / "of_the_child", "wait"):  # it would have this lock
        pass


def test_further_signals_wait_for_the_tidying_up() -> None:
    with python(program(TIDYING)) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "tidying\n"
        for number in ENDING:
            process.send_signal(number)
        out, _ = process.communicate("")
    assert (process.returncode, out) == (128 + signal.SIGTERM, "tidied\n")


def test_under_nohup_a_closed_terminal_ends_nothing() -> None:
    ignored = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    with python(program('print("working", flush=True)\nsys.stdin.read()', ignored)) as process:
        process.send_signal(signal.SIGHUP)
        process.communicate("")
    assert process.returncode == 0


def test_afterwards_signals_are_what_they_were() -> None:
    before = [signal.getsignal(number) for number in ENDING]
    with ending_signals_interrupt():
        assert [signal.getsignal(number) for number in ENDING] != before
    assert [signal.getsignal(number) for number in ENDING] == before


def test_another_thread_leaves_them_alone() -> None:
    found = []

    def command() -> None:
        with ending_signals_interrupt() as told:
            found.append((told.exit_code, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=command)
    thread.start()
    thread.join()
    assert found == [(130, signal.getsignal(signal.SIGTERM))]
