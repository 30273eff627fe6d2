"""Another process that has something and tells when it has it; nothing here waits for a fixed time."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOLDING = """
import sys
from pathlib import Path
from abcrown_graft.lock import in_use
with in_use(Path(sys.argv[1]), "wait"):
    print("locked", flush=True)
    sys.stdin.read()
"""


def _heed_signals() -> None:
    """Ends what a background job ignores, SIGINT, and one that `nohup` starts, SIGHUP."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@contextmanager
def python(program: str, *words: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A Python process that has printed its first line; it is killed in the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_signals,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline(), process.communicate()
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def holding(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has locked a file until its standard input ends."""
    with python(HOLDING, path) as process:
        yield process
