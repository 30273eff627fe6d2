"""Outcomes as Markdown and as a table for the terminal, computed by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from report_outcomes import ONE, TWO

from abcrown_graft.report.outcome import Outcome
from abcrown_graft.report.table import GROUP_HEADINGS, HEADINGS, LEGEND, cells, markdown, rich_group_table, rich_table

BASELINE = Outcome(
    run="digits", name="baseline", grafted=0.0, unr=0.2048, unr_ungrafted=0.2048, verified=0.36, clean=0.976,
    robust=0.862, seconds=1.23456, undecided=46, instances=100, counted=98, evaluated=500,
)  # fmt: skip
UNCOUNTED = Outcome(
    run="a|b [c]", name="grafted", grafted=0.5, unr=None, unr_ungrafted=None, verified=0.0, clean=0.1,
    robust=0.0, seconds=0.01, undecided=0, instances=3, counted=0, evaluated=7,
)  # fmt: skip


def test_a_row_has_a_cell_for_every_heading() -> None:
    row = cells(BASELINE)
    assert row == ("digits", "baseline", "0.00", "20.48", "20.48", "36.00", "97.60", "86.20", "1.235", "46/100")
    assert len(row) == len(HEADINGS)


def test_a_ratio_over_no_image_is_a_dash() -> None:
    assert cells(UNCOUNTED)[2:5] == ("50.00", "-", "-")


def test_the_markdown_file_word_for_word() -> None:
    assert markdown([BASELINE]) == (
        "# Before and after grafting\n\n"
        "| run | network | grafted % | UNR % | UNR % of ungrafted | VA % | SA % | RA % | time s | undecided |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        "| digits | baseline | 0.00 | 20.48 | 20.48 | 36.00 | 97.60 | 86.20 | 1.235 | 46/100 |\n\n"
        f"{LEGEND}\n\n"
        "- digits, baseline: VA and time over 100 images, UNR over 98 of them, SA and RA over 500 images\n"
    )


def test_a_name_cannot_break_the_markdown_table() -> None:
    row = markdown([UNCOUNTED]).splitlines()[4]
    assert row.startswith("| a&#124;b [c] | grafted |")
    assert row.count("|") == len(HEADINGS) + 1


def test_the_terminal_table_has_the_same_cells_unformatted() -> None:
    table = rich_table([BASELINE, UNCOUNTED])
    assert [column.header for column in table.columns] == list(HEADINGS)
    assert table.row_count == 2
    assert list(table.columns[5].cells) == ["36.00", "0.00"]
    assert next(iter(table.columns[0].cells)) == "digits"


GROUP_ROW = ("-", "grafting 50 %", "1, 2", "50.00 ± 0.00", "10.00 ± 0.00", "20.00 ± 0.00", "50.00 ± 14.14",
             "90.00 ± 0.00", "60.00 ± 0.00", "2.000 ± 1.414", "11.5 ± 2.1")  # fmt: skip


def test_several_seeds_have_a_table_of_their_own() -> None:
    text = markdown([ONE, TWO])
    assert "## Mean ± standard deviation over seeds" in text
    assert f"| {' | '.join(GROUP_HEADINGS)} |" in text and f"| {' | '.join(GROUP_ROW)} |" in text
    assert "- a, grafting 50 %, seed 1: VA and time over 100 images" in text


def test_a_row_of_seeds_is_named_by_its_folder() -> None:
    text = markdown([replace(outcome, row=Path("/t/epochs10")) for outcome in (ONE, TWO)])
    assert f"| {' | '.join(('epochs10', *GROUP_ROW[1:]))} |" in text


def test_why_seeds_are_not_averaged_is_told() -> None:
    text = markdown([ONE, TWO, replace(ONE, run="c")])
    assert "Mean" not in text and "| c | grafting 50 % |" in text
    assert "- grafting 50 %: not averaged over seeds, as a and c are both of seed 1; give each its own" in text


def test_the_terminal_shows_it_too() -> None:
    table = rich_group_table([ONE, TWO])
    assert table is not None and [column.header for column in table.columns] == list(GROUP_HEADINGS)
    assert tuple(next(iter(column.cells)) for column in table.columns) == GROUP_ROW


def test_one_seed_has_no_deviation() -> None:
    assert rich_group_table([ONE]) is None and "Mean" not in markdown([ONE])
