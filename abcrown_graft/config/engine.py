"""Refuses options that the engine in use would ignore."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from abcrown_graft.config.config import Config
from abcrown_graft.config.option import ENGINES, Option, show
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.errors import UnsupportedError

_OTHER = {"native": "abcrown", "abcrown": "native"}


def check_engine(config: Config, engine: str) -> None:
    """Raises if an option has a value other than its default that `engine` does not implement.

    Options of the pipeline's stages are no engine's business and pass.

    Args:
        config: the effective configuration.
        engine: "native" or "abcrown".

    Raises:
        UnsupportedError: names the first such option, its value and origin, what to do, and how many more there are.
        ValueError: there is no such engine.
    """
    if engine not in ENGINES:
        raise ValueError(f"unknown engine {engine!r}; known: {', '.join(sorted(ENGINES))}")
    refused = [option for option in SCHEMA.values() if _is_refused(config, option, engine)]
    if not refused:
        return
    first, more = refused[0], len(refused) - 1
    known = _implemented(first, engine) if engine in first.engines else None
    implements = f", which knows {', '.join(str(value) for value in known)}" if known else ""
    raise UnsupportedError(
        f"{config.origin(first.key)}: {first.key} = {show(config[first.key])} is not implemented by the {engine} engine"
        f"{implements}; remove it or run with --engine {_OTHER[engine]}" + (f" ({more} more like it)" if more else "")
    )


def _is_refused(config: Config, option: Option, engine: str) -> bool:
    if not option.of_engine or config.is_default(option.key):
        return False
    if engine not in option.engines:
        return True
    known = _implemented(option, engine)
    return known is not None and config[option.key] not in known


def _implemented(option: Option, engine: str) -> Collection[Any] | None:
    """The values of an option that an engine implements, None for all."""
    return option.supported if engine == "native" else option.upstream
