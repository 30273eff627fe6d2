"""Entries of registries that are gone after the test."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

from abcrown_graft.registry import Registry

T = TypeVar("T")


def registered(monkeypatch: pytest.MonkeyPatch, registry: Registry[T], name: str, **about: str) -> Callable[[T], T]:
    """`registry.register(name, ...)` for the length of a test."""
    for attribute in ("_entries", "_about"):
        monkeypatch.setattr(registry, attribute, dict(getattr(registry, attribute)))
    return registry.register(name, **about)
