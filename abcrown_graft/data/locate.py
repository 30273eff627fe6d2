"""Where the files of a data set lie, and what to tell the user when they do not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from abcrown_graft import files
from abcrown_graft.errors import DataError

T = TypeVar("T")
LIMIT = files.Limit(2**30, "many times the official file")


def for_split(dataset: str, split: str, table: Mapping[str, T]) -> T:
    """The entry of `table` for `split`.

    Args:
        dataset: its registered name, for the message.
        split: "train" or "test".
        table: entries by split.

    Raises:
        DataError: the data set has no such split; the message lists those it has.
    """
    if split not in table:
        raise DataError(f"{dataset}: unknown split {split!r}; known: {', '.join(sorted(table))}")
    return table[split]


def all_in(folder: Path, names: Sequence[str], suffixes: Sequence[str] = ("",)) -> list[Path] | None:
    """The files called `names` in `folder`, each with the first suffix that exists, or None if one is missing.

    Args:
        folder: where to look.
        names: of the files, without suffix.
        suffixes: in order of preference.
    """
    found = []
    for name in names:
        path = next((folder / (name + suffix) for suffix in suffixes if (folder / (name + suffix)).is_file()), None)
        if path is None:
            return None
        found.append(path)
    return found


def missing(dataset: str, split: str, names: Iterable[str], folders: Iterable[Path], official: str) -> DataError:
    """The error for files found in none of `folders`: what, where, and what to do.

    Args:
        dataset: its registered name.
        split: the split that was asked for.
        names: the files needed, together in one folder.
        folders: where they were looked for, best place first.
        official: the name of the archive or files to get.
    """
    return DataError(
        f"{dataset} {split}: no {' + '.join(names)} in {', '.join(str(folder) for folder in folders)}; get {official} "
        "from the data set's page and set data.data_dir (--data_dir) to the folder it lies in"
    )


def reason(error: BaseException) -> str:
    """What `error` says, on one line; its type where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        DataError: it is missing, no regular file, larger than 1 GiB, or the operating system refuses.
    """
    return files.read_bytes(path, LIMIT, DataError)
