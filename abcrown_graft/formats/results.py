"""The results file: JSON lines, appended and fsynced as verdicts come; an interrupted run resumes.

The first line says which run it is: model, data, settings. Then one line per instance, and a last
line once the run is complete. A file of another run, or of a complete one, is kept aside under a
numbered name (`out.1.txt`, `out.2.txt`, ...) and never overwritten.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from abcrown_graft import __version__
from abcrown_graft.errors import FileFormatError, SettingsDifferError
from abcrown_graft.files import Limit, append_record, keep_aside, parse_json, read_text, write_atomically
from abcrown_graft.formats.counterexample import save_counterexample
from abcrown_graft.lock import in_use
from abcrown_graft.verdict import InstanceResult

if TYPE_CHECKING:
    from torch import Tensor

KIND = "results"
ADVICE = "name another general.results_file"
LIMIT = Limit(2**30, "which no results file is")


class Results(Protocol):
    """Where the results of a run go.

    Attributes:
        path: the file.
        done: results of an earlier, interrupted part of the run, by index.
        kept: where a file that was in the way has gone, or None.
    """

    path: Path
    done: dict[int, InstanceResult]
    kept: Path | None

    def in_use(self) -> AbstractContextManager[None]:
        """The time in which results come."""

    def save_counterexample(self, path: Path, index: int, point: Tensor, output: Tensor) -> None:
        """The counterexample of an instance, and what the original model makes of it, before the result comes.

        Args:
            path: which the file's name is made of.
        """

    def append(self, result: InstanceResult) -> None:
        """Adds one result; it is on the disk when this returns."""

    def complete(self) -> None:
        """All results have come."""


class ResultsFile:
    """The results of one run, see `Results`.

    Attributes:
        path: the file.
        done: results of an earlier, interrupted part of this run, by index; of two with one index the first.
        kept: where the file that was in the way has gone, or None.
    """

    def __init__(
        self, path: str | os.PathLike[str], run: Mapping[str, Any], notes: Mapping[str, Any] | None = None
    ) -> None:
        """Opens the file for a run.

        Args:
            path: the file; missing folders are made.
            run: JSON object that identifies the run; equal objects are the same run.
            notes: what else the first line says, by keys of its own; it makes no other run.

        Raises:
            FileFormatError: the file exists and is no results file of ours (it is left alone).
            SettingsDifferError: another process is writing to it.
        """
        self.path = Path(path)
        self.done: dict[int, InstanceResult] = {}
        self.kept: Path | None = None
        header = json.loads(json.dumps({"kind": KIND, "version": __version__, "run": dict(run), **(notes or {})}))
        self._run = header["run"]
        if self.path.exists() and not self.path.is_file():  # a device may be endless
            raise FileFormatError(f"{self.path}: cannot be read as a results file (no regular file)")
        with in_use(self.path, ADVICE):
            if self.path.exists():
                if self._take_up():
                    self._drop_partial_line()
                    return
                self.kept = keep_aside(self.path)
            write_atomically(self.path, (json.dumps(header) + "\n").encode())

    def save_counterexample(self, path: Path, index: int, point: Tensor, output: Tensor) -> None:
        """Writes a file of its own, see `counterexample.counterexample_path`."""
        save_counterexample(path, index, point, output)

    def append(self, result: InstanceResult) -> None:
        """Adds one result; it is on the disk when this returns."""
        append_record(self.path, result.to_record())

    def complete(self) -> None:
        """Marks the run as complete."""
        append_record(self.path, {"complete": True})

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keeps other processes from the file meanwhile; what one has added since it was opened counts as done.

        Raises:
            SettingsDifferError: one is writing to it, or has put another run's in its place, or finished this one.
        """
        with in_use(self.path, ADVICE):
            if not self._take_up():
                raise SettingsDifferError(f"{self.path}: another process has just written it; run the command again")
            yield

    def _take_up(self) -> bool:
        """Whether the file is of this run, and unfinished; its results are `done` then."""
        found, results, complete = read_results(self.path)
        if found["run"] != self._run or complete:
            return False
        for result in results:
            self.done.setdefault(result.index, result)
        return True

    def _drop_partial_line(self) -> None:
        content = self.path.read_bytes()
        if not content.endswith(b"\n"):
            write_atomically(self.path, content[: content.rfind(b"\n") + 1])


def read_results(path: str | os.PathLike[str]) -> tuple[dict[str, Any], list[InstanceResult], bool]:
    """The header, the results and whether the run is complete; a last line cut off by a crash is ignored.

    Raises:
        FileFormatError: the file is missing or is no results file; the message names the line.
    """
    try:
        lines = read_text(path, LIMIT).split("\n")
    except FileFormatError as error:
        raise FileFormatError(f"{error}; it cannot be read as a results file") from None
    whole = lines[:-1]
    header = _json(path, 1, whole[0]) if whole else None
    if not isinstance(header, dict) or header.get("kind") != KIND or not isinstance(header.get("run"), dict):
        what = "exists and is not a whole results file of abcrown"
        raise FileFormatError(f"{path}: {what}; delete it, or name another general.results_file")
    results, complete = [], False
    for number, line in enumerate(whole[1:], 2):
        record = _json(path, number, line)
        if record == {"complete": True}:
            complete = True
            continue
        try:
            results.append(InstanceResult.from_record(record))
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise FileFormatError(f"{path}:{number}: not a result ({error})") from None
    return header, results, complete


def _json(path: str | os.PathLike[str], number: int, line: str) -> Any:
    try:
        return parse_json(line)
    except ValueError:
        raise FileFormatError(f"{path}:{number}: not a line of a results file; name another file") from None
