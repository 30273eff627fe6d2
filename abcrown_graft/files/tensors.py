"""Files of tensors: safetensors whose header entry `abcrown_graft` is a JSON object.

`kind` says what the file is ("mask", "instability", "significance", "checkpoint", ...), `format` is the version of that
kind's layout, and the rest is provenance.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from abcrown_graft import __version__
from abcrown_graft.errors import FileFormatError
from abcrown_graft.files.read import check_regular, parse_json
from abcrown_graft.files.write import write_atomically

if TYPE_CHECKING:
    from torch import Tensor

HEADER = "abcrown_graft"
LEGACY_SUFFIXES = (".pt", ".pth")  # of the published code's lists of tensors


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
        FileFormatError: the file is missing, no regular file, damaged or truncated.
    """
    from safetensors import SafetensorError, safe_open

    check_regular(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        header = parse_json(metadata[HEADER]) if HEADER in metadata else None
    except (SafetensorError, OSError, ValueError) as error:
        raise FileFormatError(f"{path}: not a complete safetensors file ({error})") from None
    if header is not None and not isinstance(header, dict):
        raise FileFormatError(f"{path}: the header is not a JSON object")
    return tensors, header
