"""Outcomes as CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from report_outcomes import ONE, TWO

from abcrown_graft.report.csv_table import COLUMNS, csv_text, harmless


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_every_figure_is_there_in_full() -> None:
    (row,) = rows(csv_text([replace(ONE, unr=1 / 3, unr_ungrafted=None, run="a,b")]))
    assert tuple(row) == COLUMNS
    assert (row["row"], row["run"], row["network"], row["label"], row["seed"]) == (
        "run",
        "a,b",
        "grafted",
        "grafting 50 %",
        "1",
    )
    assert float(row["unr"]) == 1 / 3 and row["unr_ungrafted"] == ""
    assert (row["verified"], row["instances"], row["counted"], row["evaluated"]) == ("0.4", "100", "90", "500")


def test_seeds_have_a_mean_and_a_deviation() -> None:
    found = rows(csv_text([ONE, TWO]))
    assert [row["row"] for row in found] == ["run", "run", "mean", "std"]
    assert (found[2]["label"], found[2]["seed"], found[2]["seconds"]) == ("grafting 50 %", "1 2", "2.0")
    assert float(found[3]["seconds"]) == 2**0.5 and found[2]["run"] == ""


def test_the_mean_of_seeds_in_one_folder_names_it() -> None:
    found = rows(csv_text([replace(outcome, row=Path("/t/epochs10")) for outcome in (ONE, TWO)]))
    assert [row["run"] for row in found] == ["a", "b", "epochs10", "epochs10"]


@pytest.mark.parametrize("label", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", "-a\r=1"])
def test_no_spreadsheet_takes_a_text_for_a_formula(label: str) -> None:
    (row,) = rows(csv_text([replace(ONE, label=label, run=label)]))
    expected = "'" + label.replace("\r", " ")
    assert (row["label"], row["run"]) == (expected, expected)


@pytest.mark.parametrize("cell", [-0.5, -3, None, "", "grafting 50 %", "a=b", "1e-3"])
def test_numbers_and_harmless_texts_stay(cell: object) -> None:
    assert harmless(cell) == cell
