"""Whether linear inequalities contradict each other, by Fourier-Motzkin elimination in exact arithmetic.

Source: Schrijver, "Theory of Linear and Integer Programming" (1986), section 12.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import NamedTuple

from abcrown_graft.formats.vnnlib.formula import Atom, Variable

MAX_ROWS = 500
MAX_BITS = 20_000  # of a number; elimination multiplies them


class Row(NamedTuple):
    """`sum of factor · variable + constant <= 0`, or `< 0` if it is strict.

    Attributes:
        lines: of the atoms that it follows from.
    """

    factors: Mapping[Variable, Fraction]
    constant: Fraction
    strict: bool
    lines: frozenset[int]


def row(atom: Atom) -> Row:
    """What the atom says."""
    return Row(atom.factors, atom.constant, False, frozenset((atom.line,)))


def opposite(atom: Atom) -> Row:
    """What it means that the atom is false."""
    factors = {name: -factor for name, factor in atom.factors.items()}
    return Row(factors, -atom.constant, True, frozenset((atom.line,)))


def contradiction(rows: Iterable[Row]) -> frozenset[int] | None:
    """The lines of rows that no point satisfies together.

    Returns:
        None if there are none, or if finding them takes more than `MAX_ROWS` rows or `MAX_BITS` bits at a time.
    """
    left = list(rows)
    while len(left) <= MAX_ROWS:
        false = next((row for row in left if not row.factors and _is_false(row)), None)
        if false is not None:
            return false.lines
        left = [row for row in left if row.factors]
        if not left:
            return None
        eliminated = _eliminated(left)
        if eliminated is None:
            return None
        left = eliminated
    return None


def _is_false(row: Row) -> bool:
    """Whether a row without variables is."""
    return row.constant > 0 or (row.strict and row.constant == 0)


def _eliminated(rows: list[Row]) -> list[Row] | None:
    """Rows without one of the variables that hold of the others where the given ones do; None if they are too many."""
    above: dict[Variable, int] = {}
    below: dict[Variable, int] = {}
    for row in rows:
        for name, factor in row.factors.items():
            side = above if factor > 0 else below
            side[name] = side.get(name, 0) + 1
    free = {name for name in above.keys() ^ below.keys()}  # bounded from one side only, so never in the way
    if free:
        return [row for row in rows if not free & row.factors.keys()]
    chosen = min(above, key=lambda name: (above[name] * below[name], name))
    rest = [row for row in rows if chosen not in row.factors]
    if len(rest) + above[chosen] * below[chosen] > MAX_ROWS:
        return None
    upper = [row for row in rows if row.factors.get(chosen, 0) > 0]
    lower = [row for row in rows if row.factors.get(chosen, 0) < 0]
    made = [_without(chosen, one, other) for one in upper for other in lower]
    return None if any(_is_large(row) for row in made) else [*rest, *made]


def _without(name: Variable, upper: Row, lower: Row) -> Row:
    """The sum of positive multiples of two rows in which the variable cancels out."""
    one, other = -lower.factors[name], upper.factors[name]
    factors: dict[Variable, Fraction] = {}
    for weight, row in ((one, upper), (other, lower)):
        for variable, factor in row.factors.items():
            factors[variable] = factors.get(variable, Fraction(0)) + weight * factor
    return Row(
        {variable: factor for variable, factor in factors.items() if factor},
        one * upper.constant + other * lower.constant,
        upper.strict or lower.strict,
        upper.lines | lower.lines,
    )


def _is_large(row: Row) -> bool:
    numbers = (row.constant, *row.factors.values())
    return any(max(n.numerator.bit_length(), n.denominator.bit_length()) > MAX_BITS for n in numbers)
