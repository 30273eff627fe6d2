"""Files that survive a crash: atomic replacement, fsynced appends, safetensors with provenance.

Every file of tensors is one safetensors file whose header entry `abcrown_graft` is a JSON object:
`kind` says what the file is ("mask", "instability", "significance", "checkpoint", ...), `format`
is the version of that kind's layout, and the rest is provenance.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abcrown_graft import __version__
from abcrown_graft.errors import FileFormatError, OutputError

if TYPE_CHECKING:
    from torch import Tensor

HEADER = "abcrown_graft"
LEGACY_SUFFIXES = (".pt", ".pth")  # of the published code's lists of tensors


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
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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


def save_tensors(
    path: str | os.PathLike[str], kind: str, tensors: Mapping[str, Tensor], header: Mapping[str, Any]
) -> None:
    """Writes `tensors` and their provenance as one safetensors file, atomically.

    Args:
        path: where to; missing folders are made.
        kind: what the file is, checked by `load_tensors`.
        tensors: by name; copied to the CPU.
        header: JSON-serialisable provenance.
    """
    from safetensors.torch import save

    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    full = {**header, "kind": kind, "format": 1, "version": __version__}
    write_atomically(path, save(plain, metadata={HEADER: json.dumps(full)}))


def load_tensors(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the header of a file written by `save_tensors`.

    Raises:
        FileFormatError: the file is missing, damaged, truncated, or of another kind.
    """
    tensors, header = read_safetensors(path)
    if header is None:
        raise FileFormatError(f"{path}: a safetensors file without this package's header, expected a {kind} file")
    if header.get("kind") != kind:
        raise FileFormatError(f"{path}: this is a {header.get('kind')!r} file, expected {kind!r}")
    if header.get("format") != 1:
        raise FileFormatError(f"{path}: {kind} format {header.get('format')!r} is newer than this version reads (1)")
    return tensors, header


def read_safetensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """Any safetensors file: its tensors, and this package's header or None.

    Raises:
        FileFormatError: the file is missing, damaged or truncated.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileFormatError(f"{path}: no such file")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        header = json.loads(metadata[HEADER]) if HEADER in metadata else None
    except (SafetensorError, OSError, ValueError) as error:
        raise FileFormatError(f"{path}: not a complete safetensors file ({error})") from None
    if header is not None and not isinstance(header, dict):
        raise FileFormatError(f"{path}: the header is not a JSON object")
    return tensors, header
