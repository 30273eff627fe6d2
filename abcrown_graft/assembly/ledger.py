"""`stages.json`: what every stage of a pipeline was made from, and what it left behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from abcrown_graft.assembly.artifacts import read_json, write_json
from abcrown_graft.files import sha256
from abcrown_graft.lock import in_use

Hashes = list[str | None]


class Ledger:
    """The stages that were begun or finished in a folder; every change is on the disk when the call returns."""

    def __init__(self, path: Path) -> None:
        """Reads `path` if it exists.

        Raises:
            FileFormatError: it holds something else than a JSON object.
        """
        self.path = path
        self._entries: dict[str, Any] = {}
        self._read()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keeps other processes from changing the folder's files meanwhile.

        Raises:
            SettingsDifferError: one is at it.
        """
        with in_use(self.path, "set another pipeline.output and pipeline.baseline"):
            self._read()  # another one may have been at it before
            yield

    def _read(self) -> None:
        self._entries = read_json(self.path) if self.path.exists() else {}

    def is_begun(self, stage: str, before: Mapping[str, Any]) -> bool:
        """Whether the stage was last begun from these inputs and settings."""
        entry = self._entries.get(stage)
        return isinstance(entry, dict) and entry.get("before") == before

    def left(self, stage: str, before: Mapping[str, Any]) -> Hashes | None:
        """The hashes of the files that the stage left when it finished; None unless made from `before`."""
        return self._entries[stage].get("after") if self.is_begun(stage, before) else None

    def read(self, stage: str) -> Hashes | None:
        """The hashes of the files that the stage read when it was last begun; None if it never was."""
        entry = self._entries.get(stage)
        before = entry.get("before") if isinstance(entry, dict) else None
        return before.get("reads") if isinstance(before, dict) else None

    def note(self, stage: str, before: Mapping[str, Any], after: Hashes | None = None) -> None:
        """Notes that the stage begins, or with `after` that it is finished."""
        self.put(stage, {"before": dict(before), "after": after})

    def entry(self, stage: str) -> Any:
        """What is noted of the stage, for `put`; None is nothing."""
        return self._entries.get(stage)

    def put(self, stage: str, entry: Any) -> None:
        """Notes again what `entry` gave, as if the stage had not begun since; a ledger without stages is no file."""
        if entry is None:
            del self._entries[stage]
        else:
            self._entries[stage] = entry
        if self._entries:
            write_json(self.path, self._entries)
        else:
            self.path.unlink()


def hashes(paths: Sequence[Path]) -> Hashes:
    """SHA-256 of each file, None for a missing one."""
    return [sha256(path) if path.is_file() else None for path in paths]
