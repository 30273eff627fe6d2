"""Where the parts of a Sankey diagram stand."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abcrown_graft.report.sankey import GAP, ribbons, spread, stack

SHARES = [[0.2, 0.1], [0.0, 0.7]]
HEIGHTS = st.lists(st.floats(-1, 0), min_size=1, max_size=6).map(lambda places: sorted(places, reverse=True))


def test_classes_stand_below_one_another_with_gaps() -> None:
    first, second = stack([0.25, 0.75])
    assert first == (-0.25, 0.0) and second == pytest.approx((-1.0 - GAP, -0.25 - GAP))


def test_an_empty_class_takes_no_room() -> None:
    assert stack([0.5, 0.0, 0.5])[2] == stack([0.5, 0.5])[1]


def test_ribbons_fill_both_stacks_exactly() -> None:
    left, right = stack([0.3, 0.7]), stack([0.2, 0.8])
    found = ribbons(SHARES, left, right)
    assert [(i, j) for i, j, _, _ in found] == [(0, 0), (0, 1), (1, 1)], "an empty flow has none"
    for i, j, start, end in found:
        assert start[1] - start[0] == pytest.approx(SHARES[i][j]) == pytest.approx(end[1] - end[0])
        assert left[i][0] - 1e-12 <= start[0] and start[1] <= left[i][1]
        assert right[j][0] - 1e-12 <= end[0] and end[1] <= right[j][1]
    assert found[1][3][0] == pytest.approx(found[2][3][1]), "what arrives at one class lies edge to edge"


@given(HEIGHTS)
def test_labels_keep_their_distance_and_order(wanted: list[float]) -> None:
    found = spread(wanted, 0.1)
    assert len(found) == len(wanted)
    assert all(a - b >= 0.1 - 1e-9 for a, b in pairwise(found))


def test_labels_with_room_stay_where_they_are() -> None:
    assert spread([0.0, -0.5, -1.0], 0.1) == [0.0, -0.5, -1.0]


def test_labels_that_meet_stand_around_their_mean() -> None:
    assert spread([-0.5, -0.5, -0.9], 0.1) == pytest.approx([-0.45, -0.55, -0.9])
