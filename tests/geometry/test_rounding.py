"""Numbers on the chosen side of exact ones, and none nearer."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from abcrown_graft.geometry.rounding import next_above, next_below, rounded_down, rounded_up, sum_above, sum_below

NUMBERS = st.floats(-1e30, 1e30)


def double(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


@given(NUMBERS, NUMBERS)
def test_sums_are_neighbours_around_the_exact_one(first: float, second: float) -> None:
    exact = Fraction(first) + Fraction(second)
    low, high = float(sum_below(double(first), double(second))), float(sum_above(double(first), double(second)))
    assert Fraction(low) <= exact <= Fraction(high)
    assert high == (low if exact == Fraction(low) else math.nextafter(low, math.inf))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_shorter_numbers_are_neighbours_around_the_value(value: float) -> None:
    down, up = rounded_down(double(value), torch.float32), rounded_up(double(value), torch.float32)
    assert down.dtype == up.dtype == torch.float32
    assert float(down) <= value <= float(up)
    assert torch.equal(up, down) or torch.equal(up, next_above(down))
    assert float(down) < value < float(up) or torch.equal(up, down)


@pytest.mark.parametrize("rounded", [rounded_down, rounded_up])
def test_what_needs_no_rounding_stays(rounded: Callable[[Tensor, torch.dtype], Tensor]) -> None:
    values = torch.tensor([0.1, -2.0, 0.0, math.inf, -math.inf])
    for dtype in (torch.float32, torch.float64):
        assert torch.equal(rounded(values, dtype), values.to(dtype))
        assert torch.equal(rounded(values.double(), dtype), values.to(dtype))
    assert bool(rounded(double(math.nan), torch.float32).isnan())


def test_neighbours_have_the_precision_of_the_value() -> None:
    one = torch.ones(1)
    assert float(next_above(one)) == 1 + 2**-23 and float(next_below(one)) == 1 - 2**-24
    assert float(next_above(one.double())) == 1 + 2**-52
