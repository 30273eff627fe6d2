"""Running a verifier as a process of its own, with its time and memory."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
POLL = 0.5  # seconds


@dataclass(frozen=True)
class Usage:
    """What a process took.

    Attributes:
        code: exit code; negative for a signal.
        wall, cpu: seconds, start-up included; `cpu` of all its threads.
        peak_mib: largest resident set, in MiB.
    """

    code: int
    wall: float
    cpu: float
    peak_mib: float


class ProcessFailed(Exception):
    """A process ended with an error; the message holds the end of its output."""


def environment(threads: int, paths: Sequence[Path] = ()) -> dict[str, str]:
    """This process's environment with so many threads and folders to import from."""
    found = dict(os.environ) | dict.fromkeys(THREAD_VARIABLES, str(threads))
    searched = [*map(str, paths), *filter(None, [os.environ.get("PYTHONPATH")])]
    return found | ({"PYTHONPATH": os.pathsep.join(searched)} if searched else {})


def run(
    command: Sequence[str],
    log: Path,
    variables: Mapping[str, str],
    cwd: Path | None = None,
    on_poll: Callable[[], None] = lambda: None,
) -> Usage:
    """Runs `command` with its output in `log`, calling `on_poll` while it runs and when it has ended.

    Linux counts the memory of the process that forks into the child's peak, so the caller should be small.
    """
    with log.open("wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=dict(variables), cwd=cwd)
        try:
            usage = _wait(process, start, on_poll)
        except BaseException:
            process.kill()
            process.wait()
            raise
    on_poll()
    return usage


def _wait(process: subprocess.Popen[bytes], start: float, on_poll: Callable[[], None]) -> Usage:
    while True:
        pid, status, used = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            wall = time.perf_counter() - start
            return Usage(process.returncode, wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
        on_poll()
        time.sleep(POLL)


def check(usage: Usage, log: Path) -> Usage:
    """`usage` of a process that ended well.

    Raises:
        ProcessFailed: it did not.
    """
    if usage.code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise ProcessFailed(f"exit code {usage.code}; {log} ends with:\n{tail}")
    return usage
