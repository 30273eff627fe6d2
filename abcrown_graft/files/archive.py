"""Zip archives (`.npz`, `torch.save`) whose members decompress to more than the machine can hold."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

from abcrown_graft.errors import AbcrownGraftError, FileFormatError
from abcrown_graft.files.read import check_regular

# Where Linux says how much memory a container may use, in its present and its earlier way.
CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def check_archive(
    path: str | os.PathLike[str],
    error: type[AbcrownGraftError] = FileFormatError,
    wanted: Callable[[str], bool] = lambda name: True,
) -> None:
    """Makes sure that what is read of an archive fits into memory; a file that is no zip archive is left to its reader.

    Nothing is decompressed: the archive declares the sizes of its members, and its readers go no further.

    Args:
        path: the file.
        error: type of the errors raised.
        wanted: whether a member is going to be read.

    Raises:
        AbcrownGraftError: it is missing, no regular file, or too large.
    """
    check_regular(path, error)
    try:
        with zipfile.ZipFile(path) as archive:
            needed = sum(member.file_size for member in archive.infolist() if wanted(member.filename))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return
    check_memory(path, needed, error)


def check_memory(path: str | os.PathLike[str], needed: int, error: type[AbcrownGraftError] = FileFormatError) -> None:
    """Raises `error` if the content of a file, of so many bytes, is more than the machine's memory."""
    if needed > (there := memory()):
        raise error(f"{path}: decompresses to {needed / 2**30:,.1f} GiB, this machine has {there / 2**30:,.1f} GiB")


def memory() -> int:
    """Bytes of memory of the machine, or of the container if that may use less."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in CONTAINER_LIMITS:
        try:
            limits.append(int(file.read_text()))
        except (OSError, ValueError):  # no such limit, or "max"
            continue
    return min(limits)
