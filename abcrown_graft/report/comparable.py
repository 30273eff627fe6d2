"""Whether the plain and the grafted network of a run were verified alike, so that their results can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from abcrown_graft.errors import FileFormatError


def check_comparable(files: tuple[Path, Path], about: tuple[Mapping[str, Any], Mapping[str, Any]]) -> None:
    """Refuses results on other images or of other settings.

    Args:
        files: the results of the plain network and of the grafted one, for messages.
        about: what they say of their verification. A setting that only one of them has is no difference: the other
            file is of a version without it.

    Raises:
        FileFormatError: the two do not belong together.
    """
    (before, after), (plain, grafted) = about, files
    if before.get("data") != after.get("data"):
        raise FileFormatError(
            f"{grafted}: of other images (data {after.get('data')}) than {plain} (data {before.get('data')}); "
            "run 'abcrown-graft run' again"
        )
    for key, here, there in _differences(after.get("settings"), before.get("settings")):
        raise FileFormatError(
            f"{grafted}: verified with {key} {here}, {plain} with {there}; run 'abcrown-graft run' again"
        )


def _differences(here: object, there: object, prefix: str = "") -> Iterator[tuple[str, object, object]]:
    """Dotted key and both values, of the keys that both have."""
    if isinstance(here, dict) and isinstance(there, dict):
        for key in here:
            if key in there:
                yield from _differences(here[key], there[key], f"{prefix}.{key}" if prefix else key)
    elif here != there and prefix:
        yield prefix, here, there
