from __future__ import annotations

from fractions import Fraction

import pytest

from abcrown_graft.errors import FileFormatError, UnsupportedError
from abcrown_graft.formats.vnnlib.formula import (
    And,
    Atom,
    Linear,
    Variable,
    comparison,
    constant,
    negative,
    number,
    product,
    total,
    variable,
)

X0, X1, Y0, Y1 = (variable(kind, i) for kind in "XY" for i in range(2))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("+0.25", Fraction(1, 4)),
        (".5", Fraction(1, 2)),
        ("2.", 2),
        ("0.1", Fraction(1, 10)),
        ("1e-05", Fraction(1, 100_000)),
        ("-1.5E+2", -150),
        ("0.0000000000000000000000000000001", Fraction(1, 10**31)),
    ],
)
def test_numbers_are_exact(text, value):
    assert number(text, 1) == value


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-inf", "1_0", "0x10", "1/3", "", "-", ".", "e5", "1e", "١", "1 ", "--1"]
)
def test_what_python_or_nobody_takes_for_a_number_is_none(text):
    assert number(text, 1) is None


@pytest.mark.parametrize("text", ["1e999999999", "1e-401", "1" * 2001])
def test_numbers_far_outside_float64_are_refused_at_once(text):
    with pytest.raises(FileFormatError, match=r"line 7: .* far outside float64"):
        number(text, 7)


def test_sums_drop_what_cancels():
    assert total([X0, negative(X0), Y0, constant(Fraction(2))]) == Linear(Y0.factors, Fraction(2))


def test_products_have_at_most_one_variable():
    three, half = constant(Fraction(3)), constant(Fraction(1, 2))
    shifted = total([Y0, constant(Fraction(4))])
    assert product([three, shifted, half], 1) == Linear({Variable("Y", 0): Fraction(3, 2)}, Fraction(6))
    assert product([constant(Fraction(0)), Y0], 1) == constant(Fraction(0))
    with pytest.raises(UnsupportedError, match="line 4: products of variables"):
        product([Y0, three, Y1], 4)


def test_a_product_cannot_grow_without_end():
    with pytest.raises(FileFormatError, match="line 2: a product of numbers is far outside float64"):
        product([constant(Fraction(10) ** 400)] * 100_000, 2)


def test_comparisons_become_at_most_zero():
    two = constant(Fraction(2))
    at_most, at_least = Atom(Y0.factors, Fraction(-2), 3), Atom(negative(Y0).factors, Fraction(2), 3)
    assert comparison("<=", Y0, two, 3) == at_most
    assert comparison(">=", Y0, two, 3) == at_least
    assert comparison(">=", two, Y0, 3) == at_most
    assert comparison("=", Y0, two, 3) == And((at_most, at_least))


@pytest.mark.parametrize("symbol", ["<", ">", "!=", "distinct"])
def test_strict_comparisons_are_refused(symbol):
    with pytest.raises(UnsupportedError, match=f"line 3: comparisons with '{symbol}' are not supported"):
        comparison(symbol, Y0, Y1, 3)


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        (X0, Y0, "a comparison of X_0 with outputs"),
        (total([Y0, Y1]), X1, "a comparison of X_1 with outputs"),
        (X0, X1, r"a relation between inputs \(X_0, X_1\)"),
    ],
)
def test_relations_of_inputs_are_refused(left, right, message):
    with pytest.raises(UnsupportedError, match=f"line 9: {message}"):
        comparison("<=", left, right, 9)


@pytest.mark.parametrize("sides", [(constant(Fraction(0)), constant(Fraction(1))), (Y0, Y0)])
def test_a_comparison_without_variables_is_refused(sides):
    with pytest.raises(FileFormatError, match="line 1: this comparison is between numbers"):
        comparison("<=", *sides, 1)
