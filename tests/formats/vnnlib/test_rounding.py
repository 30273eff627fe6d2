from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.formats.vnnlib.rounding import above, below, literal_row

DECIMALS = st.builds(
    lambda digits, exponent: Fraction(digits) * Fraction(10) ** exponent, st.integers(), st.integers(-330, 300)
)


@given(DECIMALS)
def test_rounding_encloses_a_number_by_neighbours(value):
    low, high = below(value), above(value)
    assert low == -math.inf or Fraction(low) <= value
    assert high == math.inf or Fraction(high) >= value
    assert high in (low, math.nextafter(low, math.inf))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_stay_as_they_are(value):
    assert below(Fraction(value)) == above(Fraction(value)) == value


def test_the_smallest_and_largest_numbers():
    assert (below(Fraction(1, 10**400)), above(Fraction(1, 10**400))) == (0.0, 5e-324)
    assert (below(Fraction(10) ** 400), above(Fraction(10) ** 400)) == (1.7976931348623157e308, math.inf)
    assert (below(-(Fraction(10) ** 400)), above(-(Fraction(10) ** 400))) == (-math.inf, -1.7976931348623157e308)


def test_factors_that_float64_holds_are_kept_and_the_offset_is_rounded_down():
    row, offset = literal_row({0: Fraction(-1), 2: Fraction(0.1)}, Fraction(1, 10), 3, 1)
    assert row.tolist() == [-1.0, 0.0, 0.1]
    assert Fraction(offset) < Fraction(1, 10) < Fraction(math.nextafter(offset, 1))


def test_other_factors_are_scaled_to_integers():
    row, offset = literal_row({0: Fraction(1, 10), 1: Fraction(-3, 10)}, Fraction(1, 2), 2, 1)
    assert row.tolist() == [1.0, -3.0]
    assert offset == 5.0
    row, offset = literal_row({0: Fraction(2, 3), 1: Fraction(4, 5)}, Fraction(-1), 2, 1)
    assert row.tolist() == [5.0, 6.0]
    assert offset == -7.5


def test_factors_that_cannot_be_held_are_refused():
    with pytest.raises(UnsupportedError, match="line 8: float64 cannot hold these factors exactly"):
        literal_row({0: Fraction("0.12345678901234567"), 1: Fraction("0.3")}, Fraction(0), 2, 8)
    with pytest.raises(UnsupportedError, match="line 8: float64 cannot hold"):
        literal_row({0: Fraction(10) ** 309, 1: Fraction(1)}, Fraction(0), 2, 8)


def test_a_constant_without_lower_neighbour_is_refused_and_a_large_one_rounded_down():
    with pytest.raises(UnsupportedError, match="line 8: the constant is too large"):
        literal_row({0: Fraction(1)}, -(Fraction(10) ** 309), 1, 8)
    assert literal_row({0: Fraction(1)}, Fraction(10) ** 309, 1, 8)[1] == 1.7976931348623157e308
