"""Formulas over a network's inputs X and outputs Y, in exact arithmetic.

Both versions of VNN-LIB become these; a formula describes the counterexamples of a property.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from abcrown_graft.errors import FileFormatError, UnsupportedError

MAX_DIGITS = 2000  # every float64 is written out in fewer
MAX_EXPONENT = 400
MAX_BITS = 20_000  # of numerator and denominator of a product

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]+))?")


class Variable(NamedTuple):
    """Element `number` (row-major) of the inputs, kind "X", or of the outputs, kind "Y"."""

    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.kind}_{self.number}"


class Linear(NamedTuple):
    """`sum of factor · variable + constant`."""

    factors: Mapping[Variable, Fraction]
    constant: Fraction


class Atom(NamedTuple):
    """`sum of factor · variable + constant <= 0`: either of one input, or of outputs; no factor is zero."""

    factors: Mapping[Variable, Fraction]
    constant: Fraction
    line: int

    @property
    def bounds_input(self) -> bool:
        """Whether it bounds an input."""
        return next(iter(self.factors)).kind == "X"


class And(NamedTuple):
    """All of them."""

    parts: tuple[Formula, ...]


class Or(NamedTuple):
    """At least one of them."""

    parts: tuple[Formula, ...]


Formula = Atom | And | Or

ZERO, ONE = Fraction(0), Fraction(1)


def number(text: str, line: int) -> Fraction | None:
    """The exact value of a decimal number such as `-3`, `.5`, `2.` or `1e-05`, or None if it is no number.

    Raises:
        FileFormatError: it has too many digits, or an exponent far outside float64.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    if len(text) > MAX_DIGITS or (match[1] is not None and abs(int(match[1])) > MAX_EXPONENT):
        raise FileFormatError(f"line {line}: the number {text[:20]}... is far outside float64")
    return Fraction(text)


def constant(value: Fraction) -> Linear:
    """A number as a term."""
    return Linear({}, value)


def variable(kind: str, index: int) -> Linear:
    """An input or output as a term."""
    return Linear({Variable(kind, index): ONE}, ZERO)


def negative(term: Linear) -> Linear:
    """The term times -1."""
    return Linear({name: -factor for name, factor in term.factors.items()}, -term.constant)


def total(terms: Sequence[Linear]) -> Linear:
    """The sum of the terms, without the variables that cancel out."""
    factors: dict[Variable, Fraction] = {}
    for term in terms:
        for name, factor in term.factors.items():
            factors[name] = factors[name] + factor if name in factors else factor
    nonzero = {name: factor for name, factor in factors.items() if factor}
    return Linear(nonzero, sum((term.constant for term in terms[1:]), terms[0].constant))


def product(terms: Sequence[Linear], line: int) -> Linear:
    """The product of the terms, of which at most one may have variables.

    Raises:
        UnsupportedError: two of them have.
        FileFormatError: it is far outside float64.
    """
    weight, linear = ONE, constant(ONE)
    for term in terms:
        if term.factors and linear.factors:
            raise UnsupportedError(f"line {line}: products of variables are not supported, only linear terms")
        if term.factors:
            linear, term = term, linear
        weight *= term.constant
        if max(weight.numerator.bit_length(), weight.denominator.bit_length()) > MAX_BITS:
            raise FileFormatError(f"line {line}: a product of numbers is far outside float64")
    scaled = {name: weight * factor for name, factor in linear.factors.items()} if weight else {}
    return Linear(scaled, weight * linear.constant)


def comparison(symbol: str, left: Linear, right: Linear, line: int) -> Formula:
    """`left symbol right`, the symbol being `<=`, `>=` or `=`.

    Raises:
        UnsupportedError: another symbol; inputs and outputs, or several inputs, in one comparison.
        FileFormatError: no variable is left to compare.
    """
    if symbol == "=":
        return And((comparison("<=", left, right, line), comparison(">=", left, right, line)))
    if symbol not in ("<=", ">="):
        raise UnsupportedError(f"line {line}: comparisons with {symbol!r} are not supported, only <=, >= and equality")
    if symbol == ">=":
        left, right = right, left
    factors, offset = total([left, negative(right)])
    inputs = sorted(name.number for name in factors if name.kind == "X")
    if not factors:
        raise FileFormatError(f"line {line}: this comparison is between numbers, or its variables cancel out")
    if inputs and len(factors) > len(inputs):
        raise UnsupportedError(f"line {line}: a comparison of X_{inputs[0]} with outputs is not supported")
    if len(inputs) > 1:
        names = ", ".join(f"X_{i}" for i in inputs[:3])
        raise UnsupportedError(
            f"line {line}: a relation between inputs ({names}) is not supported, only bounds of each"
        )
    return Atom(factors, offset, line)
