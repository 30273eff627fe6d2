"""Random formulas mean as queries what they mean as text, and damaged texts mean nothing."""

from __future__ import annotations

import math
import random
import re
from fractions import Fraction

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from vnncomp import parse_property

from abcrown_graft.errors import AbcrownGraftError
from abcrown_graft.formats.vnnlib.disjuncts import normal_form
from abcrown_graft.formats.vnnlib.query import Query, make_queries
from abcrown_graft.formats.vnnlib.trivial import remark_on
from abcrown_graft.formats.vnnlib.version1 import parse_version1

INPUTS, OUTPUTS = 2, 3
QUARTERS = st.integers(-8, 8).map(lambda k: f"{k / 4}")
DECIMALS = st.decimals(-2, 2, places=3).map(str)
SYMBOLS = st.sampled_from(["<=", ">=", "="])

# A term is a number, a variable, or (operator, terms); a formula is (symbol, term, term) or (connective, formulas).


def formulas(numbers: st.SearchStrategy[str]) -> st.SearchStrategy:
    inputs = st.sampled_from([f"X_{i}" for i in range(INPUTS)])
    outputs = st.sampled_from([f"Y_{j}" for j in range(OUTPUTS)])
    scaled = st.tuples(st.just("*"), st.tuples(st.sampled_from(["0.5", "-2", "3"]), outputs))
    terms = st.recursive(
        numbers | outputs | scaled,
        lambda inner: st.tuples(st.sampled_from("+-"), st.lists(inner, min_size=1, max_size=3).map(tuple)),
        max_leaves=4,
    )
    bounds = st.tuples(SYMBOLS, inputs, numbers) | st.tuples(SYMBOLS, numbers, inputs)
    comparisons = bounds | st.tuples(SYMBOLS, terms, terms)
    return st.recursive(
        comparisons,
        lambda inner: st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=1, max_size=3).map(tuple)),
        max_leaves=8,
    )


def render(node) -> str:
    if isinstance(node, str):
        return node
    arguments = node[1:] if len(node) == 3 else node[1]
    return f"({node[0]} {' '.join(map(render, arguments))})"


def value(term, point: dict[str, Fraction]) -> Fraction:
    if isinstance(term, str):
        return point[term] if term in point else Fraction(term)
    operator, values = term[0], [value(inner, point) for inner in term[1]]
    if operator == "*":
        return values[0] * values[1]
    if operator == "+":
        return sum(values)
    return -values[0] if len(values) == 1 else values[0] - sum(values[1:])


def holds(formula, point: dict[str, Fraction]) -> bool:
    if len(formula) == 2:
        return (all if formula[0] == "and" else any)(holds(part, point) for part in formula[1])
    left, right = (value(term, point) for term in formula[1:])
    return {"<=": left <= right, ">=": left >= right, "=": left == right}[formula[0]]


def contains(query: Query, x: list[Fraction], y: list[Fraction]) -> bool:
    """Membership in exact arithmetic."""
    inside = all(a <= b <= c for a, b, c in zip(query.lower.tolist(), x, query.upper.tolist(), strict=True))
    return inside and any(
        all(
            sum((Fraction(a) * b for a, b in zip(row, y, strict=True)), Fraction(offset)) <= 0
            for row, offset in zip(clause.rows.tolist(), clause.offsets.tolist(), strict=True)
        )
        for clause in query.unsafe
    )


BOUNDS = tuple((symbol, f"X_{i}", bound) for i in range(INPUTS) for symbol, bound in ((">=", "-2"), ("<=", "2")))


def text_of(formula) -> str:
    names = [f"X_{i}" for i in range(INPUTS)] + [f"Y_{j}" for j in range(OUTPUTS)]
    lines = [f"(declare-const {name} Real)" for name in names]
    return "\n".join([*lines, *(f"(assert {render(part)})" for part in (*BOUNDS, ("<=", "Y_0", "2"), formula))])


def queries_of(formula) -> list[Query]:
    """Comparisons whose variables cancel out are refused, so nothing is to be compared then."""
    try:
        return make_queries(normal_form(parse_version1(text_of(formula))[1]), INPUTS, OUTPUTS)
    except AbcrownGraftError as error:
        assume("between numbers" not in str(error))
        raise


def points(seed: int, values: list[Fraction], count: int):
    choose = random.Random(seed).choice
    for _ in range(count):
        x, y = ([choose(values) for _ in range(n)] for n in (INPUTS, OUTPUTS))
        names = {f"X_{i}": v for i, v in enumerate(x)} | {f"Y_{j}": v for j, v in enumerate(y)}
        yield x, y, names


@settings(max_examples=100, deadline=None)
@given(formulas(QUARTERS), st.integers(0, 1000))
def test_a_point_is_in_a_query_exactly_if_the_text_holds_there(formula, seed):
    queries = queries_of(formula)
    for x, y, names in points(seed, [Fraction(k, 4) for k in range(-9, 10)], 60):
        meant = all(holds(part, names) for part in (*BOUNDS, ("<=", "Y_0", "2"), formula))
        assert any(contains(query, x, y) for query in queries) == meant


@settings(max_examples=100, deadline=None)
@given(formulas(QUARTERS), st.integers(0, 1000))
def test_what_is_remarked_on_a_property_is_so_at_every_point(formula, seed):
    queries = queries_of(formula)
    remark = remark_on(normal_form(parse_version1(text_of(formula))[1]), reachable=bool(queries))
    assert remark is not None or queries
    if remark is not None:
        for _, _, names in points(seed, [Fraction(k, 4) for k in range(-9, 10)], 60):
            meant = all(holds(part, names) for part in (*BOUNDS, ("<=", "Y_0", "2"), formula))
            assert remark.holds and not meant, "Y_0 is bounded, so not every output is unsafe"


@settings(max_examples=100, deadline=None)
@given(formulas(DECIMALS), st.integers(0, 1000))
def test_rounding_loses_no_point(formula, seed):
    queries = queries_of(formula)
    numbers = [token for token in render(formula).replace("(", " ").replace(")", " ").split() if token[-1].isdigit()]
    decimals = [Fraction(token) for token in numbers if "_" not in token]
    for x, y, names in points(seed, [*decimals, Fraction(0), Fraction(1, 3)], 60):
        if all(holds(part, names) for part in (*BOUNDS, ("<=", "Y_0", "2"), formula)):
            assert any(contains(query, x, y) for query in queries)


PLAIN = """; one box
(declare-const X_0 Real) (declare-const X_1 Real)
(declare-const Y_0 Real) (declare-const Y_1 Real)
(assert (>= X_0 -1)) (assert (<= X_0 1.5e0))
(assert (<= -0.25 X_1)) (assert (<= X_1 0.75))
(assert (or (and (<= Y_0 Y_1) (>= Y_0 2)) (and (>= Y_1 3.5))))
"""
PIECES = [
    "(",
    ")",
    ";",
    "\n",
    "X_0",
    "X_9",
    "Y_1",
    "1e9",
    "nan",
    "-",
    "and",
    "or",
    "<=",
    "<",
    "assert",
    "\0",
    "é",
    "_",
    "0",
]


@st.composite
def damaged(draw) -> str:
    text = PLAIN
    for _ in range(draw(st.integers(1, 3))):
        at, length = draw(st.integers(0, len(text) - 1)), draw(st.integers(0, 12))
        text = text[:at] + draw(st.sampled_from(["", *PIECES, text[at : at + length] * 2])) + text[at + length :] + " "
    return text


@settings(max_examples=500, deadline=None)
@given(damaged())
def test_a_damaged_text_is_refused_or_means_what_it_says(text):
    try:
        interface, formula = parse_version1(text)
        queries = make_queries(normal_form(formula), interface.input.size, interface.output.size)
    except AbcrownGraftError as error:
        assert "\n" not in str(error)
        return
    assume(not re.search(r"\(\s*[=-]", text))  # equality and differences are beyond the other reader
    expected = parse_property(text)  # of the rest it refuses less than the library
    if (expected.lower > expected.upper).any():
        assert queries == []
        return
    (query,) = queries
    # The other reader takes the nearest float64 of each decimal, this one the one that leaves nothing out.
    assert ((np.nextafter(expected.lower, -np.inf) <= query.lower) & (query.lower <= expected.lower)).all()
    assert ((expected.upper <= query.upper) & (query.upper <= np.nextafter(expected.upper, np.inf))).all()
    found = [(row.tolist(), offset) for c in query.unsafe for row, offset in zip(c.rows, c.offsets, strict=True)]
    read = [(row.tolist(), offset) for disjunct in expected.unsafe for row, offset in disjunct]
    assert [row for row, _ in found] == [row for row, _ in read]
    assert all(
        math.nextafter(theirs, -math.inf) <= ours <= theirs for (_, ours), (_, theirs) in zip(found, read, strict=True)
    )


@settings(max_examples=300, deadline=None)
@given(st.text() | st.text(alphabet="()XY_01;<=> \nasert-") | st.binary().map(lambda b: b.decode("latin-1")))
def test_any_text_at_all_is_refused(text):
    try:
        parse_version1(text)
    except AbcrownGraftError:
        return
    raise AssertionError("no text of these declares inputs and outputs")
