"""A named family of alternatives: data sets, model definitions, criteria, branching rules."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from abcrown_graft.errors import ConfigError

T = TypeVar("T")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None if none is close."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None


class Registry(Generic[T]):
    """Maps names to alternatives of one kind.

    >>> heuristics = Registry("significance heuristic")
    >>> @heuristics.register("gradient")
    ... def gradient(): ...
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that files its target under `name`; a second entry of that name is refused."""

        def file(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered twice; choose another name")
            self._entries[name] = entry
            return entry

        return file

    def __getitem__(self, name: str) -> T:
        """The alternative called `name`.

        Raises:
            ConfigError: the name is unknown; the message lists the known ones.
        """
        if name in self._entries:
            return self._entries[name]
        guess = nearest(name, self._entries)
        hint = f"did you mean {guess!r}? " if guess else ""
        raise ConfigError(f"unknown {self.kind} {name!r}; {hint}known: {', '.join(sorted(self._entries))}")

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def names(self) -> tuple[str, ...]:
        """The registered names in alphabetical order."""
        return tuple(sorted(self._entries))
