"""Lower bounds before and after."""

from __future__ import annotations

import math

import pytest
from report_runs import RunWriter, result

from abcrown_graft.report.bounds_section import bounds_section, lower_bounds
from abcrown_graft.report.run_folder import open_run
from abcrown_graft.verdict import Verdict


@pytest.mark.parametrize(
    ("bound", "kept"), [(0.5, True), (-2.0, True), (None, False), (-math.inf, False), (math.nan, False)]
)
def test_only_numbers_are_bounds(bound: float | None, kept: bool) -> None:
    assert lower_bounds({3: result(3, Verdict.TIMEOUT, lower_bound=bound)}) == ({3: bound} if kept else {})


def test_means_and_medians_by_hand(run: RunWriter) -> None:
    section = bounds_section(open_run(run.folder))
    assert section.tables[0].rows == (
        ("baseline", "2", "-0.4000", "-0.4000", "2", "-0.4000", "-0.4000"),
        ("grafted", "2", "0.2000", "0.2000", "2", "0.2000", "0.2000"),
    )
    assert len(section.plots) == 1


def test_means_over_common_images_are_apart(run: RunWriter) -> None:
    (run.folder / "verify_grafted.jsonl").unlink()
    run.verified(
        "grafted", [result(1, Verdict.VERIFIED, lower_bound=3.0), result(2, Verdict.VERIFIED, lower_bound=5.0)]
    )
    rows = bounds_section(open_run(run.folder)).tables[0].rows
    assert rows[0][4:] == ("1", "-1.0000", "-1.0000") and rows[1][1:] == (
        "2",
        "4.0000",
        "4.0000",
        "1",
        "3.0000",
        "3.0000",
    )


def test_results_without_bounds_are_told(run: RunWriter) -> None:
    (run.folder / "verify_grafted.jsonl").unlink()
    run.verified("grafted", [result(1, Verdict.VERIFIED)])
    section = bounds_section(open_run(run.folder))
    assert "No image has a lower bound for both networks" in section.text[0] and not section.plots
