"""Reading files that anybody may have written: regular ones only, of limited size and nesting."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import stat
import zlib
from io import BytesIO
from typing import Any, BinaryIO, NamedTuple

from abcrown_graft.errors import AbcrownGraftError, FileFormatError

GZIP_MAGIC = b"\x1f\x8b"
MAX_DEPTH = 100  # brackets in brackets; the package's own files have five
CHUNK = 2**20
PIPE = "a pipe; save what it gives in a file and name that"
KINDS = {
    stat.S_IFDIR: "a folder, not a file",
    stat.S_IFIFO: PIPE,
    stat.S_IFCHR: "a device, not a file",
    stat.S_IFBLK: "a device, not a file",
    stat.S_IFSOCK: "a socket, not a file",
}


class Limit(NamedTuple):
    """The most that is read of a kind of file.

    Attributes:
        size: bytes.
        why: what the limit is, for the message that it is exceeded.
    """

    size: int
    why: str


def check_regular(path: str | os.PathLike[str], error: type[AbcrownGraftError] = FileFormatError) -> None:
    """Makes sure that a path leads to a regular file, before that is opened: a pipe would be waited for.

    Raises:
        AbcrownGraftError: it does not; of the type `error`.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except (OSError, ValueError) as found:
        raise error(f"{path}: cannot be read ({_reason(found)})") from None
    if not stat.S_ISREG(mode):
        raise error(f"{path}: cannot be read (this is {KINDS.get(stat.S_IFMT(mode), 'no regular file')})")


def read_bytes(path: str | os.PathLike[str], limit: Limit, error: type[AbcrownGraftError] = FileFormatError) -> bytes:
    """The content of a regular file.

    Args:
        path: the file.
        limit: its size at most.
        error: type of the errors raised.

    Raises:
        AbcrownGraftError: the file is missing, no regular file, unreadable or too large.
    """
    check_regular(path, error)
    try:
        with open(path, "rb") as file:
            content = _at_most(file, limit.size)
    except OSError as found:
        raise error(f"{path}: cannot be read ({_reason(found)})") from None
    if content is None:
        raise error(f"{path}: larger than {_words(limit.size)}, {limit.why}")
    return content


def read_text(path: str | os.PathLike[str], limit: Limit, error: type[AbcrownGraftError] = FileFormatError) -> str:
    """The text of a regular file in UTF-8, without a byte order mark; arguments and errors as of `read_bytes`."""
    return decode(path, read_bytes(path, limit, error), error)


def decode(path: str | os.PathLike[str], content: bytes, error: type[AbcrownGraftError] = FileFormatError) -> str:
    """The text that a file's content is in UTF-8, without a byte order mark.

    Raises:
        AbcrownGraftError: it is no such text; of the type `error`.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as found:
        raise error(f"{path}: not a text file in UTF-8 (byte {found.start})") from None


def gunzip(
    path: str | os.PathLike[str], content: bytes, limit: Limit, error: type[AbcrownGraftError] = FileFormatError
) -> bytes:
    """What the gzip-compressed content of a file decompresses to; no more than the limit is ever in memory.

    Raises:
        AbcrownGraftError: it is damaged or truncated, or decompresses to more; of the type `error`.
    """
    try:
        with gzip.GzipFile(fileobj=BytesIO(content)) as file:
            unpacked = _at_most(file, limit.size)
    except (EOFError, zlib.error, OSError) as found:
        raise error(f"{path}: not a complete gzip file ({_reason(found)})") from None
    if unpacked is None:
        raise error(f"{path}: decompresses to more than {_words(limit.size)}, {limit.why}")
    return unpacked


def sha256(path: str | os.PathLike[str]) -> str:
    """The hexadecimal SHA-256 of a regular file's content, which may be of any size.

    Raises:
        FileFormatError: it is missing, unreadable or no regular file.
    """
    check_regular(path)
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while part := file.read(CHUNK):
                digest.update(part)
    except OSError as found:
        raise FileFormatError(f"{path}: cannot be read ({_reason(found)})") from None
    return digest.hexdigest()


def parse_json(text: str) -> Any:
    """What a text in JSON means.

    Raises:
        ValueError: it is not JSON, is nested deeper than `MAX_DEPTH`, or holds half of a surrogate pair, which cannot
            be printed.
    """
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError(f"nested more than {MAX_DEPTH} deep") from None
    level = _inside([found])
    for _ in range(MAX_DEPTH):
        level = [inner for value in level for inner in _inside(value)]
    if level:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    return found


def _inside(value: dict[str, Any] | list[Any]) -> list[dict[str, Any] | list[Any]]:
    """The objects and lists in an object or list; its texts are checked."""
    parts = (*value, *value.values()) if isinstance(value, dict) else value
    for part in parts:
        if isinstance(part, str):
            part.encode()  # raises a ValueError, see `parse_json`
    return [part for part in parts if isinstance(part, dict | list)]


def _at_most(file: BinaryIO | gzip.GzipFile, size: int) -> bytes | None:
    """All of a file, or None if that is more."""
    parts, left = [], size
    while part := file.read(CHUNK):
        left -= len(part)
        if left < 0:
            return None
        parts.append(part)
    return b"".join(parts)


def _words(size: int) -> str:
    """A number of bytes, in the largest unit that divides it."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} bytes"


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())
