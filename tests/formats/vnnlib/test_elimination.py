"""Elimination finds a contradiction exactly where a linear program has no solution."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from abcrown_graft.formats.vnnlib import elimination
from abcrown_graft.formats.vnnlib.elimination import Row, contradiction, opposite, row
from abcrown_graft.formats.vnnlib.formula import Atom, Variable

OUTPUTS = 4
whole = st.integers(-3, 3).map(Fraction)


def made(factors: dict[int, int | Fraction], constant: int | Fraction, line: int = 1, strict: bool = False) -> Row:
    named = {Variable("Y", j): Fraction(factor) for j, factor in factors.items() if factor}
    return Row(named, Fraction(constant), strict, frozenset((line,)))


@st.composite
def systems(draw) -> list[Row]:
    count = draw(st.integers(1, 7))
    return [
        made(draw(st.dictionaries(st.integers(0, OUTPUTS - 1), whole, max_size=3)), draw(whole), line)
        for line in range(count)
    ]


def is_feasible(rows: list[Row]) -> bool:
    matrix = np.array([[float(row.factors.get(Variable("Y", j), 0)) for j in range(OUTPUTS)] for row in rows])
    found = linprog(np.zeros(OUTPUTS), matrix, [-float(row.constant) for row in rows], bounds=[(None, None)] * OUTPUTS)
    assert found.status in (0, 2)
    return found.status == 0


@given(systems())
@settings(max_examples=300)
def test_a_linear_program_agrees(rows: list[Row]) -> None:
    lines = contradiction(rows)
    assert (lines is None) == is_feasible(rows)
    if lines is not None:
        assert not is_feasible([row for row in rows if row.lines <= lines]), "the lines alone contradict each other"


@given(systems(), st.lists(whole, min_size=OUTPUTS, max_size=OUTPUTS))
@settings(max_examples=300)
def test_what_a_point_satisfies_is_no_contradiction(rows: list[Row], point: list[Fraction]) -> None:
    """Each row is moved so that the point is on it, or strictly inside."""
    values = [sum(factor * point[name.number] for name, factor in row.factors.items()) for row in rows]
    on_it = [row._replace(constant=-value) for row, value in zip(rows, values, strict=True)]
    inside = [row._replace(constant=row.constant - 1, strict=True) for row in on_it]
    assert contradiction(on_it) is None
    assert contradiction(inside) is None


def test_strict_rows_that_meet_in_a_point_contradict_each_other() -> None:
    assert contradiction([made({0: 1}, 0), made({0: -1}, 0)]) is None
    assert contradiction([made({0: 1}, 0, 4), made({0: -1}, 0, 5, strict=True)]) == {4, 5}


def test_a_chain_that_ends_below_its_beginning() -> None:
    chain = [made({j: 1, j + 1: -1}, 0, j) for j in range(3)]
    assert contradiction([*chain, made({3: 1, 0: -1}, 0, 3)]) is None
    assert contradiction([*chain, made({3: 1, 0: -1}, Fraction(1, 10**30), 3), made({2: 1}, 5, 9)]) == {0, 1, 2, 3}


def test_the_opposite_of_an_atom_is_strict() -> None:
    atom = Atom({Variable("Y", 0): Fraction(1)}, Fraction(-1), 7)
    assert contradiction([row(atom), opposite(atom)]) == {7}
    assert contradiction([row(atom)]) is None and contradiction([opposite(atom)]) is None
    assert contradiction([opposite(atom), made({0: 1}, -1)]) == {1, 7}, "above 1 and at most 1"


def test_no_row_is_no_contradiction() -> None:
    assert contradiction([]) is None


@pytest.mark.parametrize("limit", ["MAX_ROWS", "MAX_BITS"])
def test_what_takes_too_long_is_not_found(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    rows = [made({0: 1, 1: 1}, Fraction(1, 3)), made({0: -1, 1: -1}, Fraction(1, 5)), made({2: 1}, 0)]
    assert contradiction(rows) is not None
    monkeypatch.setattr(elimination, limit, 2)
    assert contradiction(rows) is None
