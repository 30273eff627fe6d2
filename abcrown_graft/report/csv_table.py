"""Outcomes as CSV: every figure in full, shares in [0, 1]."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from abcrown_graft.report.groups import FIGURES, Group, group_by_seed
from abcrown_graft.report.outcome import Outcome

COLUMNS = ("row", "run", "network", "label", "seed", *FIGURES, "instances", "counted", "evaluated")


def csv_text(outcomes: Sequence[Outcome]) -> str:
    """One line per outcome (`row` is "run"), then a "mean" and a "std" line for every group of seeds.

    The columns are the attributes of `Outcome`; an empty cell is an unknown figure. The `run` of a group is the folder
    that holds its seeds, and these are separated by spaces.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for outcome in outcomes:
        own = ("run", "label", "seed", *FIGURES, "instances", "counted", "evaluated")
        writer.writerow({"row": "run", "network": outcome.name, **{name: getattr(outcome, name) for name in own}})
    for group in group_by_seed(outcomes):
        writer.writerows(_group_rows(group))
    return text.getvalue()


def _group_rows(group: Group) -> list[dict[str, object]]:
    about = {"run": group.run, "label": group.label, "seed": " ".join(map(str, group.seeds))}
    return [{"row": "mean", **about, **group.mean}, {"row": "std", **about, **group.std}]
