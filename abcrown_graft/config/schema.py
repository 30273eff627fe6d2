"""Every option there is, by key: YAML keys, flags, defaults, help and documentation are made of it.

Nothing is declared here. The schema is collected, when it is first asked, from the classes of settings in the modules
below and from what is registered there; a training method that a user's module registers later brings its own options.
"""

from __future__ import annotations

import importlib
from collections.abc import ItemsView, Iterable, Iterator, Mapping, Set, ValuesView
from functools import cached_property
from types import MappingProxyType
from typing import Any

from abcrown_graft.config.option import DeclaresOptions, Option
from abcrown_graft.config.passed_on import passed_on
from abcrown_graft.errors import ConfigError
from abcrown_graft.registry import Registry, nearest

DECLARED_IN = (  # modules with classes of settings, free of heavy imports; in the order of the documentation
    "abcrown_graft.assembly.options",
    "abcrown_graft.verify.options",
    "abcrown_graft.search.options",
    "abcrown_graft.attack.options",
    "abcrown_graft.masks.options",
    "abcrown_graft.training.settings",
    "abcrown_graft.pipeline.options",
)

SECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "general": "engine, device and files",
        "model": "the network",
        "data": "the images",
        "specification": "the property",
        "solver": "bounds",
        "bab": "branch and bound",
        "attack": "the search for counterexamples",
        "debug": "debugging",
        "graft": "grafting at verification",
        "instability": "counting unstable neurons",
        "train": "stage: robust training",
        "significance": "stage: how much each neuron matters",
        "mask": "stage: which neurons to graft",
        "tune": "stage: graft and fine-tune",
        "evaluate": "stage: clean and robust accuracy",
        "export": "stage: a benchmark for other verifiers",
        "pipeline": "all stages in a row",
        "report": "stage: the table before and after",
    }
)


class Schema(Mapping[str, Option]):
    """The options by key, in the order of the sections; what is implemented here comes before what is passed on."""

    def __init__(self) -> None:
        self._known: Mapping[str, Option] = MappingProxyType({})
        self._made_of: tuple[Any, ...] = ()

    @cached_property
    def _values(self) -> tuple[Any, ...]:
        """Classes of settings, in the order of the modules that define them, and then registries."""
        modules = [importlib.import_module(name) for name in DECLARED_IN]
        found = [value for module in modules for value in vars(module).values() if _is_source(value, module)]
        return tuple(sorted(found, key=lambda value: isinstance(value, Registry)))

    def _options(self) -> Mapping[str, Option]:
        """What is declared now: made anew where a class of settings has been registered since."""
        sources = tuple(_classes(self._values))
        if sources != self._made_of:
            declared = [option for source in sources for option in source.options()]
            self._known, self._made_of = _assemble([*declared, *passed_on()]), sources
        return self._known

    def __getitem__(self, key: str) -> Option:
        return self._options()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._options())

    def __len__(self) -> int:
        return len(self._options())

    def values(self) -> ValuesView[Option]:
        """The options."""
        return self._options().values()

    def items(self) -> ItemsView[str, Option]:
        """The options with their keys."""
        return self._options().items()


def _is_source(value: object, module: object) -> bool:
    if isinstance(value, type) and issubclass(value, DeclaresOptions):
        return value.__module__ == getattr(module, "__name__", None)
    return isinstance(value, Registry)


def _classes(values: Iterable[Any]) -> Iterator[type[DeclaresOptions]]:
    """The classes of settings among `values`, and those that registries among them hold."""
    for value in values:
        if isinstance(value, Registry):
            yield from _classes(entry for entry in value.loaded() if isinstance(entry, type))
        elif issubclass(value, DeclaresOptions):
            yield value


def _assemble(options: Iterable[Option]) -> Mapping[str, Option]:
    """The options by key in the order of the sections; an option that two classes inherit counts once."""
    order = list(SECTIONS)
    schema: dict[str, Option] = {}
    for option in sorted(options, key=lambda option: order.index(option.section)):
        if schema.setdefault(option.key, option) is not option:
            raise ValueError(f"option {option.key!r} is declared twice")
    return MappingProxyType(schema)


SCHEMA: Mapping[str, Option] = Schema()


def _prefixes(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


class _Groups(Set[str]):
    """The sections and subsections of the schema."""

    def __contains__(self, name: object) -> bool:
        return any(key.startswith(f"{name}.") for key in SCHEMA)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(prefix for key in SCHEMA for prefix in _prefixes(key)))

    def __len__(self) -> int:
        return sum(1 for _ in self)


GROUPS: Set[str] = _Groups()
"""Every section and subsection, such as "solver" and "solver.alpha-crown"."""


def find_option(key: str, where: str = "") -> Option:
    """The option called `key`.

    Raises:
        ConfigError: there is none; the message begins with `where` and names the nearest one.
    """
    if key in SCHEMA:
        return SCHEMA[key]
    guess = suggest(key)
    prefix = f"{where}: " if where else ""
    raise ConfigError(f"{prefix}unknown key {key!r}" + (f"; did you mean {guess!r}?" if guess else ""))


def suggest(key: str) -> str | None:
    """The key or section most likely meant, or None.

    That is a similar name beside it, else the first of its own name elsewhere, else any similar name.
    """
    known = [*SCHEMA, *sorted(GROUPS)]
    parent, _, leaf = key.rpartition(".")
    beside = nearest(leaf, [name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == parent])
    if beside:
        return f"{parent}.{beside}" if parent else beside
    elsewhere = [name for name in SCHEMA if name.rpartition(".")[2] == leaf]
    return elsewhere[0] if elsewhere else nearest(key, known)
