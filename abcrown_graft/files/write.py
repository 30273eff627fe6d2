"""Files that survive a crash: atomic replacement, fsynced appends."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from abcrown_graft.errors import OutputError
from abcrown_graft.lock import NO_LOCKS, lock_file

NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Replaces `path` by `content`: a reader sees the old file or the new one, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _replace(path, content)
    except OSError as error:
        if error.strerror is None:
            raise
        raise type(error)(error.errno, error.strerror, str(path)) from None  # it named the temporary file, or none


def _replace(path: Path, content: bytes) -> None:
    descriptor, temporary = _temporary(path)
    with os.fdopen(descriptor, "wb") as file:  # closing it ends its lock, so the name is given up before
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _temporary(path: Path) -> tuple[int, Path]:
    """A new file beside `path`, locked, and its name; what a killed process has left there for `path` is removed."""
    names = _temporary_names(path)
    try:
        descriptor, temporary = next(found for name in names if (found := _made(name)) is not None)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        temporary = path.with_name(f"{_stem(path)}.{secrets.token_hex(8)}.part")
        return os.open(temporary, NEW, 0o666), temporary
    for name in itertools.takewhile(os.path.lexists, names):  # of several that were killed
        _remove_left_over(name)
    return descriptor, temporary


def _temporary_names(path: Path) -> Iterator[Path]:
    """Names that no other file has, in the order in which they are taken."""
    yield path.with_name(f"{_stem(path)}.part")
    yield from (path.with_name(f"{_stem(path)}.{number}.part") for number in itertools.count(1))


def _stem(path: Path) -> str:
    name = path.name if len(os.fsencode(path.name)) < 200 else hashlib.sha256(os.fsencode(path.name)).hexdigest()
    return f".{name}.abcrown-graft"


def _made(temporary: Path) -> tuple[int, Path] | None:
    """The file, new and locked; None if another process is writing it, or it is not to be removed.

    Raises:
        OSError: it cannot be made or locked; then there is none.
    """
    while True:
        try:
            descriptor = lock_file(temporary, NEW)
            return None if descriptor is None else (descriptor, temporary)
        except FileExistsError:
            if not _remove_left_over(temporary):
                return None
        except OSError as error:
            if error.errno in NO_LOCKS:
                temporary.unlink(missing_ok=True)
            raise


def _remove_left_over(temporary: Path) -> bool:
    """Removes the file of a process that has ended: nobody has it locked. Whether it is gone."""
    try:
        descriptor = lock_file(temporary, os.O_RDONLY)
    except OSError:
        return not os.path.lexists(temporary)
    if descriptor is None:
        return False
    try:
        temporary.unlink()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def check_writable(path: str | os.PathLike[str]) -> None:
    """Tries whether a file can be written, before work is spent on what goes into it.

    Raises:
        OutputError: it is a folder, or nothing can be written where it is to lie.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file")
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"{path}: nothing can be written to {folder} ({error.strerror})") from None


def keep_aside(path: str | os.PathLike[str]) -> Path:
    """Renames a file that is in the way to the first free numbered name (`out.1.txt`, `out.2.txt`, ...)."""
    path, number = Path(path), 1
    while (kept := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
        number += 1
    os.replace(path, kept)
    return kept


def replace_keeping(path: str | os.PathLike[str], write: Callable[[], None]) -> Path | None:
    """Calls `write`, which writes `path`; an earlier file of another content is kept.

    Returns:
        The numbered name of the earlier file, None if there was none or it was the same.
    """
    path = Path(path)
    kept = keep_aside(path) if path.exists() else None
    try:
        write()
    except BaseException:
        if kept is not None:
            os.replace(kept, path)
        raise
    if kept is None or kept.read_bytes() != path.read_bytes():
        return kept
    kept.unlink()
    return None


def append_record(path: str | os.PathLike[str], record: Mapping[str, Any]) -> None:
    """Appends one JSON line and waits until it is on the disk."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
        file.flush()
        os.fsync(file.fileno())
