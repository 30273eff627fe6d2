"""`instances.csv`: the list of a benchmark's networks, properties and time limits."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from abcrown_graft.errors import FileFormatError
from abcrown_graft.files import Limit, read_text, write_atomically
from abcrown_graft.formats.vnnlib.read import existing

LIMIT = Limit(2**26, "which no list of instances is")


@dataclass(frozen=True)
class Instance:
    """One line of `instances.csv`.

    Attributes:
        onnx: the network; None where a line has only the property.
        vnnlib: the property.
        timeout: seconds; None where a line has only the property.
    """

    onnx: Path | None
    vnnlib: Path
    timeout: float | None


@dataclass(frozen=True)
class Line:
    """One line of `instances.csv` as it is written, whether its files exist or not.

    Attributes:
        number: counted from 1, blank lines included.
        onnx, timeout: see `Instance`.
        vnnlib: the property.
    """

    number: int
    onnx: str | None
    vnnlib: str
    timeout: float | None


def read_lines(path: str | os.PathLike[str]) -> list[Line]:
    """The lines of a list that are not blank.

    Each is `onnx,vnnlib,timeout` or, in all of the file, a property alone as α,β-CROWN has it.

    Raises:
        FileFormatError: the list is missing or empty, or a line is none of these; the message says which.
    """
    path = Path(path)
    rows = list(_rows(path, io.StringIO(read_text(path, LIMIT), newline="")))
    if not rows:
        raise FileFormatError(f"{path}: no instances")
    return [_line(path, number, row, len(rows[0][1])) for number, row in rows]


def read_instances(path: str | os.PathLike[str]) -> list[Instance]:
    """The instances of a list; files are named relative to its folder.

    A file that is only there as `NAME.gz` is found.

    Raises:
        FileFormatError: as of `read_lines`, or a file in the list is missing.
    """
    path = Path(path)
    return [_instance(path, line) for line in read_lines(path)]


def _rows(path: Path, file: io.TextIOBase) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not blank, with their numbers."""
    reader = csv.reader(file, strict=True, skipinitialspace=True)
    try:
        for row in reader:
            fields = [field.strip() for field in row]
            if any(fields):
                yield reader.line_num, fields
    except csv.Error as error:
        raise FileFormatError(f"{path}:{reader.line_num}: not CSV ({error})") from None


def _line(path: Path, number: int, row: list[str], columns: int) -> Line:
    where = f"{path}:{number}"
    if len(row) not in (1, 3):
        raise FileFormatError(f"{where}: {len(row)} columns; expected onnx,vnnlib,timeout or one vnnlib path")
    if len(row) != columns:
        raise FileFormatError(f"{where}: {len(row)} columns where the first line has {columns}")
    if not all(row[:2]):
        raise FileFormatError(f"{where}: an empty path")
    return Line(number, None, row[0], None) if columns == 1 else Line(number, row[0], row[1], _timeout(where, row[2]))


def _instance(path: Path, line: Line) -> Instance:
    where, folder = f"{path}:{line.number}", path.parent
    onnx = None if line.onnx is None else _file(where, folder, line.onnx)
    return Instance(onnx, _file(where, folder, line.vnnlib), line.timeout)


def _file(where: str, folder: Path, name: str) -> Path:
    try:
        return existing(folder / name)
    except (FileFormatError, OSError, ValueError) as error:
        raise FileFormatError(f"{where}: {error}") from None


def _timeout(where: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise FileFormatError(f"{where}: the timeout {text!r} is not a positive number of seconds")
    return seconds


def write_instances(path: str | os.PathLike[str], instances: Sequence[Instance]) -> None:
    """Writes a list, atomically; files are named relative to its folder, with forward slashes.

    Raises:
        ValueError: no instances, or some with a network and a timeout and some without.
    """
    path = Path(path)
    columns = {(instance.onnx is None, instance.timeout is None) for instance in instances}
    if columns not in ({(True, True)}, {(False, False)}):
        raise ValueError("write at least one instance, all with a network and a timeout or all without")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for instance in instances:
        files = [file for file in (instance.onnx, instance.vnnlib) if file is not None]
        row = [Path(os.path.relpath(file, path.parent)).as_posix() for file in files]
        writer.writerow(row if instance.timeout is None else [*row, f"{instance.timeout:.17g}"])
    write_atomically(path, text.getvalue().encode())
