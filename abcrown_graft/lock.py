"""Keeps two processes from writing one file: `out.txt.lock` is locked while `out.txt` is written to.

The operating system keeps the lock (`flock`) and ends it with the process, however that ends. So a lock file that was
left behind locks nothing, and two containers that share a folder lock each other out, where numbers of processes say
nothing. Windows has no such locks.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from abcrown_graft.errors import OutputError, SettingsDifferError

# What a file system without locks says, some network file systems among them.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)


@contextmanager
def in_use(path: Path, advice: str) -> Iterator[None]:
    """Keeps other processes, and other uses in this one, from the file meanwhile.

    Args:
        path: the file; missing folders are made.
        advice: what another process is told to do instead.

    Raises:
        SettingsDifferError: another process is writing to it.
        OutputError: its folder is on a file system without locks.
    """
    lock = path.with_name(path.name + ".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _take(path, lock, advice)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)  # while it is locked: who has opened it meanwhile finds that it is gone
        os.close(descriptor)


def lock_file(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> int | None:
    """Opens a file and locks it until its descriptor is closed.

    Args:
        path: the file, made if it is missing.
        flags: as of `os.open`.

    Returns:
        The descriptor; None if somebody else has it locked.

    Raises:
        OSError: it cannot be opened, or its file system has no locks (`NO_LOCKS`).
    """
    while True:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)  # a pipe is not waited for
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # who had it locked has removed it


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether it is still this file that has the name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _take(path: Path, lock: Path, advice: str) -> int:
    """The descriptor of the locked lock file, in which its owner is named."""
    try:
        descriptor = lock_file(lock)
    except OSError as error:
        if error.errno in NO_LOCKS:
            raise OutputError(
                f"{path}: cannot be locked, its file system has no locks ({error.strerror}); "
                "write to another one, such as a local disk"
            ) from None
        raise type(error)(error.errno, error.strerror, str(path)) from None
    if descriptor is None:
        raise SettingsDifferError(f"{path}: {_owner(lock)} is writing to it; wait for it, or {advice}")
    with suppress(OSError):  # on a full disk the lock holds all the same
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode())
    return descriptor


def _owner(lock: Path) -> str:
    """What the lock's owner has written there; it may be about to."""
    try:
        with lock.open("rb") as file:
            words = file.read(200).decode("utf-8", "replace").split()
    except OSError:
        words = []
    return " ".join(words) or "another process"
