"""A named family of alternatives: data sets, model definitions, criteria, branching rules.

A registry is the one place that knows its names: the option that chooses among them, `--help`, the documentation and
the error messages ask it when they need them, so that what a user's module registers counts everywhere.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from abcrown_graft.errors import ConfigError

T = TypeVar("T")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None if none is close."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None


@dataclass(frozen=True)
class About:
    """What is known of an alternative without importing it.

    Attributes:
        help: a few words for `--help` and the documentation of the option that chooses it.
        label: its name in tables, "" if none is given.
        properties: what code asks of it, constants defined beside the registry.
    """

    help: str = ""
    label: str = ""
    properties: frozenset[str] = frozenset()


class Registry(Collection[str], Generic[T]):
    """Maps names to alternatives of one kind, in the order in which they came.

    >>> heuristics = Registry("significance heuristic")
    >>> @heuristics.register("gradient", help="mean |gradient| of the loss")
    ... def gradient(): ...
    >>> heuristics.declare("magnitude", "package.module:magnitude")  # imported when it is asked for
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._places: dict[str, str] = {}
        self._about: dict[str, About] = {}

    def register(
        self, name: str, *, help: str = "", label: str = "", properties: Iterable[str] = ()
    ) -> Callable[[T], T]:
        """A decorator that files its target under `name`; a second entry of that name is refused.

        Args:
            name: what configurations call it.
            help, label, properties: see `About`.
        """

        def file(entry: T) -> T:
            self._claim(name, About(help, label, frozenset(properties)))
            self._entries[name] = entry
            return entry

        return file

    def declare(
        self, name: str, place: str, *, help: str = "", label: str = "", properties: Iterable[str] = ()
    ) -> None:
        """Files what lies at `place`, "module:attribute", which is imported when somebody asks for it.

        Args:
            name, help, label, properties: as for `register`.
            place: for example "abcrown_graft.search.branching:kfsb".
        """
        self._claim(name, About(help, label, frozenset(properties)))
        self._places[name] = place

    def _claim(self, name: str, about: About) -> None:
        if name in self._about:
            raise ValueError(f"{self.kind} {name!r} is registered twice; choose another name")
        self._about[name] = about

    def __getitem__(self, name: str) -> T:
        """The alternative called `name`.

        Raises:
            ConfigError: the name is unknown; the message lists the known ones.
        """
        self._check(name)
        if name not in self._entries:
            module, attribute = self._places[name].split(":")
            self._entries[name] = getattr(importlib.import_module(module), attribute)
        return self._entries[name]

    def about(self, name: str) -> About:
        """What is known of `name` without importing it; ConfigError if it is unknown."""
        self._check(name)
        return self._about[name]

    def having(self, property: str) -> frozenset[str]:
        """The names of the alternatives that have a property."""
        return frozenset(name for name, about in self._about.items() if property in about.properties)

    def _check(self, name: str) -> None:
        if name not in self._about:
            guess = nearest(name, self._about)
            hint = f"did you mean {guess!r}? " if guess else ""
            raise ConfigError(f"unknown {self.kind} {name!r}; {hint}known: {', '.join(sorted(self._about))}")

    def __contains__(self, name: object) -> bool:
        return name in self._about

    def __iter__(self) -> Iterator[str]:
        return iter(self._about)

    def __len__(self) -> int:
        return len(self._about)

    def names(self) -> tuple[str, ...]:
        """The registered names in alphabetical order."""
        return tuple(sorted(self._about))

    def loaded(self) -> tuple[T, ...]:
        """The alternatives that have been registered, or declared and asked for, in the order of their names."""
        return tuple(self._entries[name] for name in self._about if name in self._entries)


class OneOf(Collection[str]):
    """The names of several collections, registries among them, in their order and each once; asked anew each time."""

    def __init__(self, *parts: Collection[str]) -> None:
        self.parts = parts

    def __contains__(self, name: object) -> bool:
        return any(name in part for part in self.parts)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for part in self.parts for name in part))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def about_names(names: Collection[str]) -> dict[str, str]:
    """The names of a collection with the help that a registry among them has for each, "" where there is none."""
    parts = names.parts if isinstance(names, OneOf) else (names,)
    registries: list[Registry[Any]] = [part for part in parts if isinstance(part, Registry)]
    return {
        name: next((registry.about(name).help for registry in registries if name in registry), "") for name in names
    }
