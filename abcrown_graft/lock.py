"""Keeps two processes from writing one file: `out.txt.lock` holds the number of the one that does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from abcrown_graft.errors import SettingsDifferError
from abcrown_graft.files import write_atomically


@contextmanager
def in_use(path: Path, advice: str) -> Iterator[None]:
    """Keeps other processes from the file meanwhile.

    Args:
        path: the file.
        advice: what another process is told to do instead.

    Raises:
        SettingsDifferError: see `refuse_if_in_use`.
    """
    refuse_if_in_use(path, advice)
    write_atomically(_lock(path), f"{os.getpid()}\n".encode())
    try:
        yield
    finally:
        _lock(path).unlink(missing_ok=True)


def refuse_if_in_use(path: Path, advice: str) -> None:
    """Raises SettingsDifferError if another process writes to the file; the lock of a dead one is no matter."""
    try:
        owner = int(_lock(path).read_text())
    except (OSError, ValueError):
        return
    if owner != os.getpid() and _is_alive(owner):
        raise SettingsDifferError(f"{path}: process {owner} is writing to it; wait for it, or {advice}")


def _lock(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
