"""What becomes of each image."""

from __future__ import annotations

import pytest
from report_runs import RunWriter, result

from abcrown_graft.errors import FileFormatError
from abcrown_graft.report.run_folder import open_run
from abcrown_graft.report.transitions import CLASSES, count_transitions, outcome_class, read_pair, transition_section
from abcrown_graft.verdict import Verdict


@pytest.mark.parametrize(
    ("verdict", "predicted", "expected"),
    [
        (Verdict.VERIFIED, 0, "verified"),
        (Verdict.FALSIFIED, 0, "attacked"),
        (Verdict.FALSIFIED, 1, "misclassified"),
        (Verdict.TIMEOUT, 0, "undecided"),
        (Verdict.UNKNOWN, 0, "undecided"),
        (Verdict.OUT_OF_MEMORY, 0, "undecided"),
        (Verdict.ERROR, 0, "undecided"),
        (Verdict.ERROR, 1, "undecided"),  # an image that failed was not shown to be wrong
    ],
)
def test_the_class_of_a_result(verdict: Verdict, predicted: int, expected: str) -> None:
    assert outcome_class(result(0, verdict, predicted)) == expected


def test_transitions_by_hand() -> None:
    before = {0: result(0, Verdict.TIMEOUT), 1: result(1, Verdict.TIMEOUT), 2: result(2, Verdict.VERIFIED)}
    after = {0: result(0, Verdict.VERIFIED), 1: result(1, Verdict.TIMEOUT), 2: result(2, Verdict.FALSIFIED, 1)}
    assert count_transitions(before, after) == [[0, 0, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_the_section_holds_the_table_with_its_sums(run: RunWriter) -> None:
    section = transition_section(open_run(run.folder))
    (table,) = section.tables
    assert table.headings == ("baseline \\ grafted", *CLASSES, "all")
    assert table.rows == (
        ("verified", "1", "0", "0", "0", "1"),
        ("undecided", "1", "0", "0", "0", "1"),
        ("attacked", "0", "0", "1", "0", "1"),
        ("misclassified", "0", "0", "0", "1", "1"),
        ("all", "2", "0", "1", "1", "4"),
    )
    assert section.text[0].startswith("4 images") and "left out" not in section.text[0]


def test_images_that_only_one_network_was_verified_on_are_left_out_and_told(run: RunWriter) -> None:
    (run.folder / "verify_grafted.jsonl").unlink()
    run.verified("grafted", [result(1, Verdict.VERIFIED), result(9, Verdict.VERIFIED)])
    pair = read_pair(open_run(run.folder))
    assert list(pair.baseline) == list(pair.grafted) == [1] and pair.left_out == 4
    assert (
        "4 images that only one of them was verified on are left out"
        in transition_section(open_run(run.folder)).text[0]
    )


def test_no_image_in_common_is_refused(run: RunWriter) -> None:
    (run.folder / "verify_grafted.jsonl").unlink()
    run.verified("grafted", [result(9, Verdict.VERIFIED)])
    with pytest.raises(FileFormatError, match="verify_grafted.jsonl: no image in common"):
        read_pair(open_run(run.folder))
