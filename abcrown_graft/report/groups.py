"""Outcomes of one method and ratio over several seeds, as mean and standard deviation."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from abcrown_graft.report.outcome import Outcome

FIGURES = ("grafted", "unr", "unr_ungrafted", "verified", "clean", "robust", "seconds", "undecided")
RATIO_DIGITS = 3  # two masks of one ratio differ by the rounding to whole neurons


@dataclass(frozen=True)
class Group:
    """Outcomes that differ in nothing but the seed.

    Attributes:
        label: of all of them.
        seeds: ascending, at least two.
        mean, std: by figure (a name in `FIGURES`), None where an outcome lacks it; std is the sample's, over n - 1.
    """

    label: str
    seeds: tuple[int, ...]
    mean: dict[str, float | None]
    std: dict[str, float | None]


def group_by_seed(outcomes: Sequence[Outcome]) -> list[Group]:
    """The groups of two seeds or more, in the order of their first outcomes.

    Outcomes belong together if label, network, ratio and problem are the same. One without a seed belongs to no
    group; of two with one seed the first counts.
    """
    found: dict[tuple[object, ...], dict[int, Outcome]] = {}
    for outcome in outcomes:
        if outcome.seed is not None:
            key = (outcome.label, outcome.name, round(outcome.grafted, RATIO_DIGITS), outcome.problem)
            found.setdefault(key, {}).setdefault(outcome.seed, outcome)
    return [_group(members) for members in found.values() if len(members) > 1]


def _group(members: dict[int, Outcome]) -> Group:
    columns = {name: [getattr(outcome, name) for outcome in members.values()] for name in FIGURES}
    known = {name: values for name, values in columns.items() if None not in values}
    mean = {name: statistics.fmean(known[name]) if name in known else None for name in FIGURES}
    std = {name: statistics.stdev(known[name]) if name in known else None for name in FIGURES}
    return Group(next(iter(members.values())).label, tuple(sorted(members)), mean, std)
