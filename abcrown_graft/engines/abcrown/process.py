"""Follows a process that reports on its work: JSON objects, one in each line of a file."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abcrown_graft.files import parse_json

POLL = 0.05  # seconds
Report = Mapping[str, Any]


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: exit code, negative for a signal; None if it was ended here because of what it wrote.
        words: the last line that it printed, or what was wrong with its report.
    """

    code: int | None
    words: str

    @property
    def killed(self) -> bool:
        """Whether it was killed, which is what the system does where memory runs out."""
        return self.code == -signal.SIGKILL

    @property
    def reason(self) -> str:
        """How it ended, in one line."""
        if self.code is None:
            return self.words
        if self.killed:
            return f"α,β-CROWN was killed, as happens where memory runs out (last words: {self.words})"
        how = f"by signal {-self.code}" if self.code < 0 else f"with exit code {self.code}"
        return f"α,β-CROWN ended {how}: {self.words}"


def follow(
    command: Sequence[str], reports: Path, log: Path, patience: float | None = None
) -> Generator[Report | Ended, None, None]:
    """Runs a command, yields its reports as they come, and at last how it ended.

    The process gets a session of its own and a standard input that ends when this process does. When it ends, or the
    iteration is left, all that it started is killed.

    Args:
        command: program and words.
        reports: file that it appends to; it exists already.
        log: file that its output is appended to.
        patience: seconds without a report after which it is killed; None to wait for ever.
    """
    with log.open("ab") as output, reports.open("rb") as lines:
        begin = output.tell()
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            for line in _new_lines(process, lines, patience):
                report = line if isinstance(line, Ended) else _parsed(line)
                yield report
                if isinstance(report, Ended):
                    return
        finally:
            _end(process)
    yield Ended(process.returncode, _last_line(log, begin))


def _new_lines(process: subprocess.Popen[bytes], lines: Any, patience: float | None) -> Iterator[bytes | Ended]:
    """Whole lines, until the process has ended and none is left, or has written none for too long."""
    part, heard = b"", time.monotonic()
    while True:
        ended = process.poll() is not None
        for line in iter(lines.readline, b""):
            part += line
            if part.endswith(b"\n"):
                yield part
                part, heard = b"", time.monotonic()
        if ended:
            return
        if patience is not None and time.monotonic() - heard > patience:
            yield Ended(None, f"α,β-CROWN's process reported nothing for {patience:.0f} seconds and was ended")
        time.sleep(POLL)


def _parsed(line: bytes) -> Report | Ended:
    try:
        report = parse_json(line.decode())
    except ValueError:
        report = None
    if isinstance(report, dict):
        return report
    return Ended(None, f"α,β-CROWN's process wrote a line that is no report: {line[:80]!r}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kills the process, and its children even if it has ended by itself."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    if process.stdin is not None:
        process.stdin.close()
    process.wait()


def _last_line(log: Path, begin: int) -> str:
    """The last words in a log after byte `begin`."""
    with log.open("rb") as file:
        file.seek(max(begin, file.seek(0, os.SEEK_END) - 4000))
        lines = file.read().decode("utf-8", "replace").replace("\r", "\n").splitlines()
    return next((" ".join(line.split()) for line in reversed(lines) if line.strip()), "it printed nothing")
