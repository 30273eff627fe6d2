"""The resume file: all that an interrupted run needs to go on bit for bit, replaced as a whole after every epoch."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from abcrown_graft.errors import FileFormatError, SettingsDifferError
from abcrown_graft.files import check_archive, write_atomically
from abcrown_graft.training.settings import AdversarialSettings

_FORMAT = 2


def save_progress(
    path: str | os.PathLike[str], settings: AdversarialSettings, subject: Mapping[str, Any], progress: Mapping[str, Any]
) -> None:
    """Writes `progress` (tensors, numbers, strings, lists, dicts) and what it belongs to, atomically.

    Args:
        path: of the file.
        settings: of the run.
        subject: what is learnt and from what, by name.
        progress: tensors, numbers, strings, lists and dicts.
    """
    content = {"format": _FORMAT, "made_by": _identity(settings, subject), "progress": dict(progress)}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())


def load_progress(
    path: str | os.PathLike[str], settings: AdversarialSettings, subject: Mapping[str, Any]
) -> dict[str, Any] | None:
    """What `save_progress` wrote, on the CPU; None if there is no such file yet.

    Args:
        path: of the file.
        settings, subject: of the run that is to go on; those of the file must be equal.

    Raises:
        FileFormatError: the file is damaged or not a resume file.
        SettingsDifferError: it belongs to a run with other settings or of another subject.
    """
    if not Path(path).exists():
        return None
    content = _read(path)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise FileFormatError(f"{path}: not a resume file of this version; delete it to start anew")
    for key in ("made_by", "progress"):
        if not isinstance(content.get(key), dict):
            raise FileFormatError(f"{path}: lacks {key!r}; delete it to start anew")
    _compare(path, content["made_by"], _identity(settings, subject))
    return content["progress"]


def _read(path: str | os.PathLike[str]) -> object:
    """The content of a file whose checksums agree, which torch does not look at: a turned bit would go on learning."""
    check_archive(path)
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises whatever its bytes lead to
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FileFormatError(f"{path}: not a complete resume file ({reason}); delete it to start anew") from error


def _identity(settings: AdversarialSettings, subject: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that must be equal for a run to be continued, as plain values."""
    return {"stage": settings.section, **settings.values(), **subject}


def _compare(path: str | os.PathLike[str], stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises SettingsDifferError on the first difference."""
    for key in sorted({*stored, *wanted}):
        if stored.get(key) != wanted.get(key):
            raise SettingsDifferError(
                f"{path}: made with {key} = {stored.get(key)!r}, this run has {wanted.get(key)!r}; "
                "use the same value, or delete the file to start anew"
            )
