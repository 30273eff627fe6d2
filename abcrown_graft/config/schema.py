"""Every option there is, by key: the one source of YAML keys, flags, defaults, help and documentation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from abcrown_graft.config.option import Option
from abcrown_graft.config.options_abcrown import PASSED_ON
from abcrown_graft.config.options_engine import ENGINE_OPTIONS
from abcrown_graft.config.options_stages import STAGE_OPTIONS
from abcrown_graft.errors import ConfigError
from abcrown_graft.registry import nearest

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


def _assemble(options: Iterable[Option]) -> Mapping[str, Option]:
    """The options in the order of the sections; what is implemented here comes before what is passed on."""
    order = list(SECTIONS)
    schema: dict[str, Option] = {}
    for option in sorted(options, key=lambda option: order.index(option.section)):
        if option.key in schema:
            raise ValueError(f"option {option.key!r} is declared twice")
        schema[option.key] = option
    return MappingProxyType(schema)


SCHEMA: Mapping[str, Option] = _assemble((*ENGINE_OPTIONS, *STAGE_OPTIONS, *PASSED_ON))


def _prefixes(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


GROUPS: frozenset[str] = frozenset(prefix for key in SCHEMA for prefix in _prefixes(key))
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
