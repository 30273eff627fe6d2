"""The results file of a single instance: one of VNN-COMP's words, and the counterexample."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from abcrown_graft.errors import FileFormatError
from abcrown_graft.files import keep_aside, write_atomically
from abcrown_graft.formats.counterexample import counterexample_text, sat_text
from abcrown_graft.formats.results import ADVICE, read_results
from abcrown_graft.lock import in_use
from abcrown_graft.verdict import InstanceResult, Verdict

WORDS = {
    Verdict.VERIFIED: "unsat",
    Verdict.FALSIFIED: "sat",
    Verdict.TIMEOUT: "timeout",
    Verdict.UNKNOWN: "unknown",
    Verdict.OUT_OF_MEMORY: "out_of_memory",
    Verdict.ERROR: "error",
}
MAX_WORD = 32  # bytes of the first line


class VnncompFile:
    """The file that receives the verdict of one instance, see `Results`.

    What an earlier instance left there is gone from the moment this one starts, so that nobody takes it for this
    one's.

    Attributes:
        path: the file.
        done: nothing, ever: an instance is not resumed.
        kept: where a results file of a list of instances has gone that was in the way, or None.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Looks at what is there; missing folders are made.

        Raises:
            FileFormatError: the file exists and is neither such a file nor a results file (it is left alone).
            SettingsDifferError: another process is writing to it.
        """
        self.path = Path(path)
        self.done: dict[int, InstanceResult] = {}
        self.kept: Path | None = None
        self._counterexample: tuple[Tensor, Tensor] | None = None
        if self.path.exists() and not self.path.is_file():
            raise FileFormatError(f"{self.path}: cannot be written as a results file (no regular file)")
        with in_use(self.path, ADVICE):
            if self.path.exists() and not _is_ours(self.path):
                read_results(self.path)  # refuses somebody else's file
                self.kept = keep_aside(self.path)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Removes the old verdict and keeps other processes from the file; what goes wrong inside is told as `error`.

        Raises:
            SettingsDifferError: another process is writing to it.
        """
        with in_use(self.path, ADVICE):
            self.path.unlink(missing_ok=True)
            try:
                yield
            except Exception:
                self._write(WORDS[Verdict.ERROR] + "\n")
                raise

    def save_counterexample(self, path: Path, index: int, point: Tensor, output: Tensor) -> None:
        """Writes the file of this name; the counterexample comes with the verdict too."""
        self._counterexample = (point, output)
        write_atomically(path, counterexample_text(point, output).encode())

    def append(self, result: InstanceResult) -> None:
        """Writes the verdict; it is on the disk when this returns."""
        if result.verdict is Verdict.FALSIFIED and self._counterexample is not None:
            self._write(sat_text(*self._counterexample))
        else:
            self._write(WORDS[result.verdict] + "\n")

    def complete(self) -> None:
        """The verdict is all there is."""

    def _write(self, text: str) -> None:
        write_atomically(self.path, text.encode())


def _is_ours(path: Path) -> bool:
    """Whether the file is empty, or one of the words, `sat` with a counterexample after it."""
    with path.open("rb") as file:
        first, more = file.readline(MAX_WORD), bool(file.read(1))
    word = first.decode("ascii", "replace").strip()
    return not first or (word == "sat" if more else word in WORDS.values())
