from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from abcrown_graft.errors import FileFormatError, UnsupportedError
from abcrown_graft.formats.vnnlib import query
from abcrown_graft.formats.vnnlib.disjuncts import normal_form
from abcrown_graft.formats.vnnlib.query import Clause, Query, make_queries
from abcrown_graft.formats.vnnlib.version1 import parse_version1

HEAD = "".join(f"(declare-const {name} Real)" for name in ("X_0", "X_1", "Y_0", "Y_1"))
UNIT = "(assert (>= X_0 0)) (assert (<= X_0 1)) (assert (>= X_1 0)) (assert (<= X_1 1))"


def queries(assertions: str) -> list[Query]:
    return make_queries(normal_form(parse_version1(HEAD + assertions)[1]), 2, 2)


def plain(found: list[Query]) -> list[tuple]:
    clauses = [[(c.rows.tolist(), c.offsets.tolist()) for c in q.unsafe] for q in found]
    return [(q.lower.tolist(), q.upper.tolist(), unsafe) for q, unsafe in zip(found, clauses, strict=True)]


def test_one_box_and_a_conjunction():
    assert plain(queries(UNIT + "(assert (<= Y_0 Y_1)) (assert (>= Y_0 2.5))")) == [
        ([0, 0], [1, 1], [([[1, -1], [-1, 0]], [0, 2.5])])
    ]


def test_disjuncts_over_outputs_share_the_box_and_what_is_common():
    assert plain(
        queries(UNIT + "(assert (or (and (<= Y_0 1)) (and (<= Y_1 2) (>= Y_1 1)))) (assert (<= Y_0 Y_1))")
    ) == [([0, 0], [1, 1], [([[1, -1], [1, 0]], [0, -1]), ([[1, -1], [0, 1], [0, -1]], [0, -2, 1])])]


def test_disjuncts_with_boxes_of_their_own_become_queries_and_equal_boxes_one():
    found = queries(
        UNIT + "(assert (or (and (<= X_0 0.5) (<= Y_0 1)) (and (>= X_0 0.5) (<= Y_0 2)) (and (<= X_0 0.5) (<= Y_0 3))))"
    )
    assert plain(found) == [
        ([0, 0], [0.5, 1], [([[1, 0]], [-1]), ([[1, 0]], [-3])]),
        ([0.5, 0], [1, 1], [([[1, 0]], [-2])]),
    ]


def test_boxes_wholly_inside_the_disjuncts():
    box = "(>= X_0 {0}) (<= X_0 {1}) (= X_1 {0})"
    found = queries(f"(assert (or (and {box.format(0, 1)} (<= Y_0 1)) (and (<= Y_1 2) {box.format(2, 3)})))")
    assert plain(found) == [([0, 0], [1, 0], [([[1, 0]], [-1])]), ([2, 2], [3, 2], [([[0, 1]], [-2])])]


def test_bounds_that_change_nothing_make_no_box_of_their_own():
    found = queries(UNIT + "(assert (or (and (<= X_0 1) (<= Y_0 1)) (and (>= X_1 -5) (<= Y_0 2)) (<= Y_0 3)))")
    assert [len(q.unsafe) for q in found] == [3]


def test_repeated_bounds_intersect():
    assert plain(queries(UNIT + "(assert (<= X_0 0.25)) (assert (<= X_0 0.75)) (assert (<= Y_0 0))"))[0][1] == [0.25, 1]


def test_bounds_of_multiples_are_divided():
    found = queries(
        "(assert (<= (* -2 X_0) 1)) (assert (<= (+ X_0 X_0 1) 2)) (assert (= (* 4 X_1) 1)) (assert (<= Y_0 0))"
    )
    assert plain(found)[0][:2] == ([-0.5, 0.25], [0.5, 0.25])


def test_boxes_are_rounded_outwards_and_unsafe_regions_too():
    (found,) = queries(
        "(assert (>= X_0 0.1)) (assert (<= X_0 0.1)) (assert (= X_1 0.3)) (assert (>= Y_0 0.1)) (assert (<= Y_1 0.1))"
    )
    for i, exact in enumerate((Fraction(1, 10), Fraction(3, 10))):
        assert Fraction(found.lower[i]) < exact < Fraction(found.upper[i])
        assert np.nextafter(found.lower[i], 1) == found.upper[i]
    offsets = [Fraction(offset) for offset in found.unsafe[0].offsets]
    assert offsets[0] < Fraction(1, 10) and offsets[1] < -Fraction(1, 10)


def test_an_empty_box_is_dropped():
    found = queries(UNIT + "(assert (or (and (<= X_0 -1) (<= Y_0 1)) (<= Y_0 2)))")
    assert plain(found) == [([0, 0], [1, 1], [([[1, 0]], [-2])])]


@pytest.mark.parametrize(
    "bound", ["(assert (>= X_0 1.00000000000000000000001))", "(assert (or (>= X_0 2) (<= X_1 -1)))"]
)
def test_no_query_is_left_where_all_boxes_are_empty(bound):
    assert queries(UNIT + bound + "(assert (<= Y_0 1))") == []


def test_a_point_is_not_an_empty_box():
    assert plain(queries(UNIT + "(assert (>= X_0 1)) (assert (<= Y_0 1))"))[0][:2] == ([1, 0], [1, 1])


def test_a_disjunct_without_outputs_is_unsafe_everywhere():
    first, second = queries(UNIT + "(assert (or (<= X_0 0.5) (<= Y_0 1)))")
    assert [len(clause.rows) for clause in first.unsafe] == [0]
    assert first.contains(np.array([0.5, 0]), np.array([1e9, 1e9]))
    assert not first.contains(np.array([0.6, 0]), np.array([0.0, 0.0]))
    assert second.contains(np.array([0.6, 0]), np.array([1.0, 9.0]))


def test_membership():
    clause = Clause(np.array([[1.0, -1.0], [0.0, 1.0]]), np.array([0.0, -2.0]))
    assert clause.contains(np.array([2.0, 2.0]))
    assert not clause.contains(np.array([2.1, 2.0]))
    assert not clause.contains(np.array([1.0, np.nan]))


def test_arrays_cannot_be_changed():
    (found,) = queries(UNIT + "(assert (<= Y_0 1))")
    for array in (found.lower, found.upper, found.unsafe[0].rows, found.unsafe[0].offsets):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


@pytest.mark.parametrize(
    ("assertions", "message"),
    [
        ("(assert (<= Y_0 0))", "X_0 has no lower bound"),
        ("(assert (>= X_0 0)) (assert (<= Y_0 0))", "X_0 has no upper bound"),
        ("(assert (= X_0 0)) (assert (<= Y_0 0))", "X_1 has no lower bound"),
        ("(assert (= X_0 0)) (assert (or (and (= X_1 0) (<= Y_0 0)) (<= Y_0 1)))", "X_1 has no lower bound"),
        (UNIT, "no assertion is about an output"),
        (UNIT + "(assert (or (<= X_0 0) (>= X_0 1)))", "no assertion is about an output"),
    ],
)
def test_what_is_missing_is_named(assertions, message):
    with pytest.raises(FileFormatError, match=message):
        queries(assertions)


@pytest.mark.parametrize("bound", ["1e309", "-1e309"])
def test_a_bound_beyond_float64_is_refused(bound):
    with pytest.raises(UnsupportedError, match="a bound of an input is too large"):
        queries(f"(assert (= X_0 0)) (assert (= X_1 {bound})) (assert (<= Y_0 0))")


@pytest.mark.parametrize(
    ("limit", "message"), [(3, "2 boxes of 2 inputs are too many"), (1, "1 literals over 2 outputs are too many")]
)
def test_more_numbers_than_memory_holds_are_refused(monkeypatch, limit, message):
    text = UNIT + "(assert (or (and (<= X_0 0) (<= Y_0 0)) (<= X_1 0)))"
    assert len(queries(text)) == 2
    monkeypatch.setattr(query, "MAX_NUMBERS", limit)
    with pytest.raises(UnsupportedError, match=message):
        queries(text)
