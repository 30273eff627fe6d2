"""The comparison's file: JSON lines, appended and synced; a run that was killed goes on.

The first line says with which settings everything below was made. Then there is one line per case, verifier and image
(`image`), and one per process (`peak_mib`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cases import Case

from abcrown_graft.files import append_record

Record = dict[str, Any]


def read_lines(path: Path) -> list[Record]:
    """The JSON objects of a file, none if it is missing; a last line that was cut off is left out."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1] if line]


class Records:
    """The file of a comparison.

    Attributes:
        path: the file.
        lines: all that is in it but the settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Opens the file, or starts it.

        Raises:
            ValueError: it was made with other settings.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = read_lines(path)
        first, self.lines = lines[0] if lines else None, lines[1:]
        header = json.loads(json.dumps({"settings": dict(settings)}))
        if first is None:
            path.unlink(missing_ok=True)
            append_record(path, header)
        elif first != header:
            made = first.get("settings")
            raise ValueError(f"{path}: made with {made}, not {header['settings']}; name another file")
        elif not path.read_bytes().endswith(b"\n"):
            path.write_text("".join(json.dumps(line) + "\n" for line in (first, *self.lines)))

    def add(self, case: Case, verifier: str, record: Mapping[str, Any]) -> None:
        """Adds a line; it is on the disk when this returns."""
        line = {**asdict(case), "verifier": verifier, **record}
        append_record(self.path, line)
        self.lines.append(line)

    def done(self, case: Case, verifier: str) -> set[int]:
        """The images of which the verdict is there."""
        return {line["image"] for line in self.lines if "image" in line and of(line, case, verifier)}


def of(line: Record, case: Case, verifier: str) -> bool:
    """Whether a line belongs to that case and verifier."""
    return line["verifier"] == verifier and Case(line["network"], line["epsilon"], line["grafted"]) == case
