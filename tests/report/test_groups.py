"""Mean and standard deviation over seeds, computed by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from report_outcomes import ONE, TWO

from abcrown_graft.report.groups import doubled, group_by_seed
from abcrown_graft.report.outcome import Outcome


def test_two_seeds_by_hand() -> None:
    (group,) = group_by_seed([TWO, ONE])
    assert (group.label, group.seeds) == ("grafting 50 %", (1, 2))
    assert group.mean["verified"] == pytest.approx(0.5) and group.std["verified"] == pytest.approx(0.02**0.5)
    assert (group.mean["seconds"], group.std["seconds"]) == (2.0, pytest.approx(2**0.5))
    assert (group.mean["undecided"], group.mean["clean"], group.std["clean"]) == (11.5, 0.9, 0.0)


@pytest.mark.parametrize(
    "other",
    [
        replace(TWO, label="random 50 %"),
        replace(TWO, name="baseline"),
        replace(TWO, grafted=0.3),
        replace(TWO, problem=("cnn_a", "MNIST", "0.3")),
        replace(TWO, seed=None),
        replace(TWO, seed=1),
    ],
)
def test_what_differs_in_more_than_the_seed_is_not_averaged(other: Outcome) -> None:
    assert group_by_seed([ONE, other]) == []


def test_rows_of_one_label_that_seeds_are_told_apart_by_their_folders() -> None:
    folders = Path("/t/epochs10"), Path("/t/epochs100")
    rows = [replace(o, row=folder, verified=o.verified / n) for n, folder in enumerate(folders, 1) for o in (ONE, TWO)]
    groups = group_by_seed(rows)
    assert [(group.run, group.label, group.seeds) for group in groups] == [
        ("epochs10", "grafting 50 %", (1, 2)),
        ("epochs100", "grafting 50 %", (1, 2)),
    ]
    assert [group.mean["verified"] for group in groups] == pytest.approx([0.5, 0.25])
    assert group_by_seed([rows[0], rows[3]]) == [] and doubled(rows) == []


def test_of_two_outcomes_of_one_seed_that_nothing_tells_apart_none_is_averaged() -> None:
    again = replace(ONE, run="c", verified=0.0)
    assert group_by_seed([ONE, TWO, again]) == [] and doubled([ONE, TWO, again]) == [(ONE, again)]


def test_networks_of_one_seed_alone_have_nothing_to_average() -> None:
    assert doubled([ONE, replace(ONE, run="c")]) == []


def test_masks_that_differ_by_rounding_have_one_ratio() -> None:
    assert len(group_by_seed([ONE, replace(TWO, grafted=0.50001)])) == 1


def test_a_figure_that_one_seed_lacks_has_no_mean() -> None:
    (group,) = group_by_seed([ONE, replace(TWO, unr=None)])
    assert group.mean["unr"] is None and group.std["unr"] is None and group.mean["unr_ungrafted"] == pytest.approx(0.2)
