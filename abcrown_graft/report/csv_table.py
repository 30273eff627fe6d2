"""Outcomes as CSV: every figure in full, shares in [0, 1]."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from abcrown_graft.report.groups import FIGURES, Group, group_by_seed
from abcrown_graft.report.outcome import Outcome

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # full-width ones too
COLUMNS = ("row", "run", "network", "label", "seed", *FIGURES, "instances", "counted", "evaluated")


def csv_text(outcomes: Sequence[Outcome]) -> str:
    """One line per outcome (`row` is "run"), then a "mean" and a "std" line for every group of seeds.

    The columns are the attributes of `Outcome`; an empty cell is an unknown figure. The `run` of a group is the folder
    that holds its seeds, and these are separated by spaces.
    """
    rows = [_outcome_row(outcome) for outcome in outcomes]
    for group in group_by_seed(outcomes):
        rows += _group_rows(group)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: harmless(cell) for name, cell in row.items()} for row in rows)
    return text.getvalue()


def harmless(cell: object) -> object:
    """A cell that no spreadsheet takes for a formula: text that begins like one gets an apostrophe in front.

    Numbers stay. Source: OWASP, "CSV Injection".
    """
    if not isinstance(cell, str):
        return cell
    marked = f"'{cell}" if cell.startswith(FORMULA) else cell
    return marked.replace("\r", " ")  # which `csv` does not quote, and which ends a line elsewhere


def _outcome_row(outcome: Outcome) -> dict[str, object]:
    own = ("run", "label", "seed", *FIGURES, "instances", "counted", "evaluated")
    return {"row": "run", "network": outcome.name, **{name: getattr(outcome, name) for name in own}}


def _group_rows(group: Group) -> list[dict[str, object]]:
    about = {"run": group.run, "label": group.label, "seed": " ".join(map(str, group.seeds))}
    return [{"row": "mean", **about, **group.mean}, {"row": "std", **about, **group.std}]
