"""Mean and standard deviation over seeds, computed by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_outcomes import ONE, TWO

from abcrown_graft.report.groups import group_by_seed
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


def test_a_run_given_twice_counts_once() -> None:
    (group,) = group_by_seed([ONE, TWO, replace(ONE, verified=0.0)])
    assert group.seeds == (1, 2) and group.mean["verified"] == pytest.approx(0.5)


def test_masks_that_differ_by_rounding_have_one_ratio() -> None:
    assert len(group_by_seed([ONE, replace(TWO, grafted=0.50001)])) == 1


def test_a_figure_that_one_seed_lacks_has_no_mean() -> None:
    (group,) = group_by_seed([ONE, replace(TWO, unr=None)])
    assert group.mean["unr"] is None and group.std["unr"] is None and group.mean["unr_ungrafted"] == pytest.approx(0.2)
