from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from abcrown_graft.search.boxes import Boxes, BoxStack, can_be_halved, clipped, halved

pytestmark = pytest.mark.usefixtures("one_thread")

FINITE = st.floats(-1e300, 1e300)


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def boxes(bounds: list[float], low: float = 0.0) -> Boxes:
    n = len(bounds)
    ends = torch.full((n, 2), low, dtype=torch.float64)
    return Boxes(
        ends, ends + 1, torch.tensor(bounds, dtype=torch.float64).view(n, 1), torch.zeros(n, dtype=torch.int64)
    )


class TestHalving:
    @given(FINITE, FINITE)
    def test_the_halves_are_the_box(self, a, b):
        """They meet in one number, and the other ends and inputs are untouched: no point is lost."""
        low, high = row(min(a, b), -1.0), row(max(a, b), 7.0)
        if not can_be_halved(low, high)[0, 0]:
            assert math.nextafter(min(a, b), math.inf) >= max(a, b), "there is a number in between"
            return
        lower, upper = halved(Boxes(low, high, row(-1.0), torch.tensor([0])))
        assert (lower[0, 0], upper[1, 0]) == (low[0, 0], high[0, 0])
        assert upper[0, 0] == lower[1, 0] and low[0, 0] < lower[1, 0] < high[0, 0]
        assert lower[:, 1].tolist() == [-1, -1] and upper[:, 1].tolist() == [7, 7]

    def test_each_box_along_its_own_input(self):
        both = boxes([-1.0, -2.0])
        lower, upper = halved(Boxes(both.lower, both.upper, both.clauses, torch.tensor([1, 0])))
        assert lower.tolist() == [[0, 0], [0, 0.5], [0, 0], [0.5, 0]]
        assert upper.tolist() == [[1, 0.5], [1, 1], [0.5, 1], [1, 1]]

    @pytest.mark.parametrize("low, high", [(1.0, 1.0), (1.0, math.nextafter(1.0, 2.0)), (-math.inf, 1.0),
                                           (math.nan, 1.0), (-math.inf, math.inf)])  # fmt: skip
    def test_what_cannot_be_halved(self, low, high):
        assert not can_be_halved(row(low), row(high)).any()

    def test_the_largest_boxes_can(self):
        assert can_be_halved(row(-1.7e308), row(1.7e308)).all()


class TestTheStack:
    def test_the_last_batch_comes_first_and_its_worst_boxes(self):
        stack = BoxStack()
        stack.push(boxes([-1.0, -5.0, -3.0]))
        stack.push(boxes([-2.0, -4.0], low=3.0))
        assert stack.lowest == -5
        taken = stack.take(3)
        assert taken.clauses.flatten().tolist() == [-2, -4, -5] and taken.lower[:, 0].tolist() == [3, 3, 0]
        assert stack.take(9).clauses.flatten().tolist() == [-1, -3]
        assert not stack and stack.lowest == math.inf

    def test_nothing_is_pushed_of_nothing(self):
        stack = BoxStack()
        stack.push(boxes([]))
        assert not stack


def literals(*values: list[float]) -> Tensor:
    """`(1, clauses, literals)`."""
    return torch.tensor([values], dtype=torch.float64)


class TestClipping:
    def test_by_hand(self):
        """1 - 2 + x > 0 from x = 1 on; the second literal, -2 + (4 - y), is positive below y = 2."""
        slopes = torch.tensor([[[[1.0, 0.0], [0.0, -1.0]]]], dtype=torch.float64)
        box = clipped(row(0, 0), row(4, 4), slopes, literals([-1.0, -2.0]), torch.zeros(1, 1).bool())
        torch.testing.assert_close(box.lower, row(0, 2))
        torch.testing.assert_close(box.upper, row(1, 4))

    def test_what_two_clauses_leave_is_spanned(self):
        slopes = torch.tensor([[[[1.0]], [[-1.0]]]], dtype=torch.float64)
        box = clipped(row(0.0), row(10.0), slopes, literals([-1.0], [-2.0]), torch.zeros(1, 2).bool())
        assert (box.lower.item(), box.upper.item()) == (0, 10)
        only = clipped(row(0.0), row(10.0), slopes, literals([-1.0], [-2.0]), torch.tensor([[True, False]]))
        torch.testing.assert_close(only.lower, row(8.0))

    def test_literals_that_cannot_fail_at_the_same_point_leave_nothing(self):
        slopes = torch.tensor([[[[1.0], [-1.0]]]], dtype=torch.float64)
        box = clipped(row(0.0), row(10.0), slopes, literals([-1.0, -2.0]), torch.zeros(1, 1).bool())
        assert (box.lower > box.upper).all()

    @pytest.mark.parametrize("bound", [-math.inf, math.inf, math.nan])
    @pytest.mark.parametrize("slope", [1.0, math.inf, math.nan])
    def test_what_is_not_finite_cuts_nothing(self, bound, slope):
        slopes = torch.full((1, 1, 1, 1), slope, dtype=torch.float64)
        box = clipped(row(0.0), row(10.0), slopes, literals([bound]), torch.zeros(1, 1).bool())
        assert (box.lower.item(), box.upper.item()) == (0, 10)

    @given(st.floats(-1e3, 1e3), st.floats(0, 1e3), st.floats(-1e6, 1e6), st.floats(-1e6, -1e-320))
    def test_only_points_are_cut_off_where_the_literal_is_positive(self, low, width, slope, bound):
        """In exact arithmetic, any number beyond the new end."""
        high = low + width
        slopes = torch.tensor([slope], dtype=torch.float64).view(1, 1, 1, 1)
        box = clipped(row(low), row(high), slopes, literals([bound]), torch.zeros(1, 1).bool())
        start, end = (low, box.upper.item()) if slope >= 0 else (high, box.lower.item())
        assert low <= box.lower.item() <= box.upper.item() <= high
        if end == (high if slope >= 0 else low):
            return
        assert Fraction(bound) + Fraction(slope) * (Fraction(end) - Fraction(start)) >= 0
