"""From exact numbers to float64, on the safe side."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from abcrown_graft.errors import UnsupportedError


def nearest(value: Fraction) -> float:
    """The nearest float64; infinite beyond the largest."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def below(value: Fraction) -> float:
    """The largest float64 that is not above `value`; `-inf` below the lowest."""
    found = nearest(value)
    if math.isinf(found):
        return min(found, sys.float_info.max)
    numerator, denominator = found.as_integer_ratio()
    too_large = numerator * value.denominator > value.numerator * denominator
    return math.nextafter(found, -math.inf) if too_large else found


def above(value: Fraction) -> float:
    """The smallest float64 that is not below `value`; `inf` above the highest."""
    return -below(-value)


def held(value: Fraction) -> bool:
    """Whether a float64 has this value."""
    found = nearest(value)
    return math.isfinite(found) and found.as_integer_ratio() == (value.numerator, value.denominator)


def literal_row(factors: Mapping[int, Fraction], constant: Fraction, size: int, line: int) -> tuple[np.ndarray, float]:
    """`sum of factor · y + constant <= 0` in float64: a row `(size,)` and an offset.

    Factors that float64 does not hold, as 0.1, are scaled to integers; what is left to round is the offset,
    downwards, so that no y is lost.

    Raises:
        UnsupportedError: the factors cannot be held, or the constant is too large.
    """
    if not all(map(held, factors.values())):
        scale = Fraction(
            math.lcm(*(factor.denominator for factor in factors.values())),
            math.gcd(*(factor.numerator for factor in factors.values())),
        )
        factors = {position: factor * scale for position, factor in factors.items()}
        constant *= scale
        if not all(map(held, factors.values())):
            raise UnsupportedError(
                f"line {line}: float64 cannot hold these factors exactly; write them with fewer digits"
            )
    row, offset = np.zeros(size), below(constant)
    for position, factor in factors.items():
        row[position] = float(factor)
    if not math.isfinite(offset):
        raise UnsupportedError(f"line {line}: the constant is too large for float64")
    return row, offset
