from __future__ import annotations

import gzip
import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from vnncomp import parse_property

from abcrown_graft.formats.vnnlib.query import Clause
from abcrown_graft.formats.vnnlib.read import read_vnnlib
from abcrown_graft.formats.vnnlib.write import decimal, robustness_clauses, write_vnnlib

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def assert_equal_after_reading(path, lower, upper, unsafe):
    (query,) = read_vnnlib(path)
    assert np.array_equal(query.lower, lower.ravel()) and np.array_equal(query.upper, upper.ravel())
    assert len(query.unsafe) == len(unsafe)
    for found, written in zip(query.unsafe, unsafe, strict=True):
        assert np.array_equal(found.rows, written.rows) and np.array_equal(found.offsets, written.offsets)


def test_a_robustness_property_by_hand(tmp_path):
    path = tmp_path / "new" / "p.vnnlib"
    write_vnnlib(path, np.array([0.0, 0.25]), np.array([1.0, 0.5]), robustness_clauses(1, 3), "image 7\nlabel 1")
    assert path.read_text() == (
        "; image 7\n; label 1\n"
        "(declare-const X_0 Real)\n(declare-const X_1 Real)\n"
        "(declare-const Y_0 Real)\n(declare-const Y_1 Real)\n(declare-const Y_2 Real)\n"
        "(assert (<= X_0 1.0))\n(assert (>= X_0 0.0))\n"
        "(assert (<= X_1 0.5))\n(assert (>= X_1 0.25))\n"
        "(assert (or\n    (and (<= Y_1 Y_0))\n    (and (<= Y_1 Y_2))\n))\n"
    )


def test_every_kind_of_literal(tmp_path):
    path, rows = tmp_path / "p.vnnlib", np.array([[1, 0], [-1, 0], [0, 2], [1, -1], [-1, 1], [1, -1], [0.5, 1]])
    clause = Clause(rows.astype(float), np.array([-1.0, 2.5, 3.0, 0.0, 0.0, 1.0, -0.0]))
    write_vnnlib(path, np.zeros(1), np.ones(1), [clause])
    assert path.read_text().splitlines()[5:] == [
        "(assert (<= Y_0 1.0))",
        "(assert (>= Y_0 2.5))",
        "(assert (<= (* 2.0 Y_1) -3.0))",
        "(assert (<= Y_0 Y_1))",
        "(assert (<= Y_1 Y_0))",
        "(assert (<= (+ Y_0 (* -1.0 Y_1)) -1.0))",
        "(assert (<= (+ (* 0.5 Y_0) Y_1) 0.0))",
    ]
    for i in range(len(rows)):  # together they contradict each other
        literal = Clause(clause.rows[i : i + 1], clause.offsets[i : i + 1])
        write_vnnlib(path, np.zeros(1), np.ones(1), [literal])
        assert_equal_after_reading(path, np.zeros(1), np.ones(1), [literal])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read_back(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("round") / "p.vnnlib.gz"
    inputs, outputs = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    bounds = np.sort(data.draw(st.lists(st.tuples(FINITE, FINITE), min_size=inputs, max_size=inputs)), axis=1)
    row = st.lists(FINITE | st.sampled_from([0.0, 1.0, -1.0]), min_size=outputs, max_size=outputs).filter(any)
    literals = st.lists(st.tuples(row, FINITE), min_size=1, max_size=3)
    drawn = data.draw(st.lists(literals, min_size=1, max_size=3))
    unsafe = [Clause(np.array([r for r, _ in some]), np.array([o for _, o in some])) for some in drawn]
    write_vnnlib(path, bounds[:, 0], bounds[:, 1], unsafe)
    assume(read_vnnlib(path))  # of literals that contradict each other nothing is left
    assert_equal_after_reading(path, bounds[:, 0], bounds[:, 1], unsafe)


@given(FINITE)
def test_decimals_are_exact_and_without_exponent(value):
    text = decimal(value)
    assert Fraction(text) == Fraction(value)
    assert set(text) <= set("-0123456789.") and "." in text
    assert text != "-0.0"


def test_a_reader_that_rounds_to_nearest_sees_the_same_floats(tmp_path):
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, 40) / 255
    lower, upper = np.clip(image - 8 / 255, 0, 1), np.clip(image + 8 / 255, 0, 1)
    write_vnnlib(tmp_path / "p.vnnlib", lower, upper, robustness_clauses(3, 10))
    found = parse_property((tmp_path / "p.vnnlib").read_text())
    assert np.array_equal(found.lower, lower) and np.array_equal(found.upper, upper)
    assert len(found.unsafe) == 9


def test_compressed_files_are_equal_whenever_they_are_written(tmp_path):
    path = tmp_path / "p.vnnlib.gz"
    write_vnnlib(path, np.zeros((2, 2)), np.ones((2, 2)), robustness_clauses(0, 2))
    content = path.read_bytes()
    assert struct.unpack("<I", content[4:8]) == (0,)  # the header's time
    assert gzip.decompress(content).decode().startswith("(declare-const X_0 Real)\n")
    assert_equal_after_reading(path, np.zeros((2, 2)), np.ones((2, 2)), robustness_clauses(0, 2))


def test_robustness_clauses_are_unsafe_where_another_class_is_as_large():
    clauses = robustness_clauses(1, 3)
    unsafe = [
        any(c.contains(np.array(y)) for c in clauses) for y in ([0.0, 1.0, 0.5], [1.0, 1.0, 0.5], [0.0, 1.0, 2.0])
    ]
    assert unsafe == [False, True, True]


ONE = Clause(np.ones((1, 2)), np.zeros(1))


@pytest.mark.parametrize(
    ("lower", "upper", "unsafe", "message"),
    [
        ([0.0], [1.0, 2.0], [ONE], "lower has 1 inputs, upper 2"),
        ([], [], [ONE], "at least one"),
        ([1.0], [0.0], [ONE], "no lower bound above its upper bound"),
        ([np.nan], [0.0], [ONE], "must be finite"),
        ([0.0], [np.inf], [ONE], "must be finite"),
        ([0.0], [1.0], [], "no clauses"),
        ([0.0], [1.0], [ONE, Clause(np.ones((1, 3)), np.zeros(1))], "differ in their number of outputs"),
        ([0.0], [1.0], [Clause(np.full((1, 2), np.nan), np.zeros(1))], "clauses must be finite"),
        ([0.0], [1.0], [Clause(np.ones((1, 2)), np.full(1, np.inf))], "clauses must be finite"),
        ([0.0], [1.0], [Clause(np.zeros((0, 2)), np.zeros(0))], "a clause without literals"),
        ([0.0], [1.0], [Clause(np.zeros((1, 2)), np.zeros(1))], "a literal without outputs"),
    ],
)
def test_what_cannot_be_said_is_not_written(tmp_path, lower, upper, unsafe, message):
    with pytest.raises(ValueError, match=message):
        write_vnnlib(tmp_path / "p.vnnlib", np.array(lower), np.array(upper), unsafe)
    assert not list(tmp_path.iterdir())
