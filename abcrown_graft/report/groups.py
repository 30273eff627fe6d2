"""Outcomes of one method and ratio over several seeds, as mean and standard deviation."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from abcrown_graft.report.outcome import Outcome

FIGURES = ("grafted", "unr", "unr_ungrafted", "verified", "clean", "robust", "seconds", "undecided")
RATIO_DIGITS = 3  # two masks of one ratio differ by the rounding to whole neurons


@dataclass(frozen=True)
class Group:
    """Outcomes that differ in nothing but the seed.

    Attributes:
        run: name of the folder that holds all of them; "" if none does.
        label: of all of them.
        seeds: ascending, at least two.
        mean, std: by figure (a name in `FIGURES`), None where an outcome lacks it; std is the sample's, over n - 1.
    """

    run: str
    label: str
    seeds: tuple[int, ...]
    mean: dict[str, float | None]
    std: dict[str, float | None]


def group_by_seed(outcomes: Sequence[Outcome]) -> list[Group]:
    """The groups of two seeds or more, in the order of their first outcomes.

    Outcomes belong together if label, network, ratio, problem and row are the same. An outcome without a seed belongs
    to no group. Outcomes of which two have the same seed form no group either; `doubled` lists them.
    """
    return [_group(members) for members in _alike(outcomes) if _first_twice(members) is None]


def doubled(outcomes: Sequence[Outcome]) -> list[tuple[Outcome, Outcome]]:
    """Why seeds are not averaged: pairs of one seed that should be of one group."""
    return [pair for members in _alike(outcomes) if (pair := _first_twice(members)) is not None]


def _alike(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    """Those that differ in seeds alone, as far as one can tell; only where there are two seeds or more."""
    found: dict[tuple[object, ...], list[Outcome]] = {}
    for o in outcomes:
        if o.seed is not None:
            key = (o.label, o.name, round(o.grafted, RATIO_DIGITS), o.problem, o.row)
            found.setdefault(key, []).append(o)
    return [members for members in found.values() if len({o.seed for o in members}) > 1]


def _first_twice(members: list[Outcome]) -> tuple[Outcome, Outcome] | None:
    """The first two outcomes of one seed."""
    return next((pair for pair in combinations(members, 2) if pair[0].seed == pair[1].seed), None)


def _group(members: list[Outcome]) -> Group:
    columns = {name: [getattr(outcome, name) for outcome in members] for name in FIGURES}
    known = {name: values for name, values in columns.items() if None not in values}
    mean = {name: statistics.fmean(known[name]) if name in known else None for name in FIGURES}
    std = {name: statistics.stdev(known[name]) if name in known else None for name in FIGURES}
    seeds = sorted(outcome.seed for outcome in members if outcome.seed is not None)
    run = "" if members[0].row is None else members[0].row.name
    return Group(run, members[0].label, tuple(seeds), mean, std)
