"""Exact truth: nothing is rounded, nothing tolerated."""

from __future__ import annotations

import math

import pytest

from abcrown_graft.formats.vnnlib.judge import satisfies
from abcrown_graft.formats.vnnlib.read import read_formula

DECLARED = "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)(declare-const Y_1 Real)"


@pytest.fixture
def formula_of(tmp_path):
    def read(text: str):
        (tmp_path / "p.vnnlib").write_text(DECLARED + text)
        return read_formula(tmp_path / "p.vnnlib")

    return read


def test_connectives(formula_of):
    """x_0 in [0, 1], and y_0 <= y_1 with y_1 >= 2, or 3 y_0 + y_1 <= -1."""
    formula = formula_of(
        "(assert (>= X_0 0)) (assert (<= X_0 1))(assert (or (and (<= Y_0 Y_1) (>= Y_1 2)) (<= (+ (* 3 Y_0) Y_1) -1)))"
    )
    assert satisfies(formula, [0, 9], [2, 2]) and satisfies(formula, [1, 9], [-0.5, 0.5])
    assert not satisfies(formula, [0, 9], [2.5, 2])
    assert not satisfies(formula, [0, 9], [0, 1])
    assert not satisfies(formula, [1.5, 9], [2, 2])


def test_a_bound_that_is_no_float64_is_met_by_the_next_ones_on_its_side(formula_of):
    """0.1 in float64 is a little more than 0.1."""
    formula = formula_of("(assert (<= X_0 0.1)) (assert (>= Y_0 0))")
    assert not satisfies(formula, [0.1, 0], [0, 0])
    assert satisfies(formula, [math.nextafter(0.1, 0), 0], [0, 0])


def test_sums_that_float64_rounds(formula_of):
    formula = formula_of("(assert (<= X_0 1)) (assert (<= (+ Y_0 Y_1) 1))")
    assert 1.0 + 1e-17 == 1.0 and not satisfies(formula, [0, 0], [1.0, 1e-17])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_satisfies_nothing(formula_of, value):
    formula = formula_of("(assert (<= X_0 1)) (assert (or (<= Y_0 1) (>= Y_0 0)))")
    assert satisfies(formula, [0, 0], [3, 0])
    assert not satisfies(formula, [0, 0], [value, 0]) and not satisfies(formula, [0, value], [0, 0])
