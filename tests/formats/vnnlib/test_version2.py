from __future__ import annotations

import sys

import pytest

from abcrown_graft.errors import FileFormatError, UnsupportedError
from abcrown_graft.formats.vnnlib.interface import Interface, TensorDeclaration
from abcrown_graft.formats.vnnlib.read import read_property, read_vnnlib
from abcrown_graft.formats.vnnlib.version2 import parse_version2

HEAD = """; a comment with "half a quote and [brackets(
(vnnlib-version <2.0>)
(declare-network f
  (declare-input picture real [2,1])
  (declare-output logits real [1,3])
)
"""
NETWORK = "(declare-network g (declare-input a real [1])(declare-output b real [1]))"
BOUNDS = "".join(f"(assert (>= picture[{i},0] -0.5))(assert (<= picture[{i},0] 0.5))\n" for i in range(2))


@pytest.fixture
def package():
    return pytest.importorskip("vnnlib", reason="VNN-LIB 2.0 needs the optional package vnnlib")


def read(tmp_path, text: str):
    path = tmp_path / "p.vnnlib"
    path.write_text(text)
    return read_property(path)


def clauses(query) -> list[tuple]:
    return [(c.rows.tolist(), c.offsets.tolist()) for c in query.unsafe]


def test_declarations(package, tmp_path):
    found = read(tmp_path, HEAD + BOUNDS + "(assert (<= logits[0,0] logits[0,1]))")
    source, target = TensorDeclaration("picture", "real", (2, 1)), TensorDeclaration("logits", "real", (1, 3))
    assert found.interface == Interface("2.0", "f", source, target)


def test_conjunctions_in_disjunctions_are_kept(package, tmp_path):
    text = "(assert (or (and (<= logits[0,0] 1.5) (>= logits[0,1] 2.0)) (== logits[0,2] 0.25)))"
    (query,) = read(tmp_path, HEAD + BOUNDS + text).queries
    assert (query.lower.tolist(), query.upper.tolist()) == ([-0.5, -0.5], [0.5, 0.5])
    assert clauses(query) == [
        ([[1, 0, 0], [0, -1, 0]], [-1.5, 2]),
        ([[0, 0, 1], [0, 0, -1]], [-0.25, 0.25]),
    ]


def test_boxes_in_disjunctions(package, tmp_path):
    text = "(assert (or (and (<= picture[1,0] 0.0) (<= logits[0,0] 1.0)) (<= logits[0,1] 1.0)))"
    first, second = read(tmp_path, HEAD + BOUNDS + text).queries
    assert (first.upper.tolist(), second.upper.tolist()) == ([0.5, 0], [0.5, 0.5])


@pytest.mark.parametrize(
    ("term", "row", "offset"),
    [
        ("(+ (* 2.0 logits[0,1]) (- logits[0,0] 3.5 logits[0,2]) (- logits[0,2]))", [1, 2, -2], -3.5),
        ("(* 2.0 (- logits[0,1] 1.0) 3.0)", [0, 6, 0], -6),
        ("(- (- logits[0,1]))", [0, 1, 0], 0),
    ],
)
def test_linear_terms(package, tmp_path, term, row, offset):
    (query,) = read(tmp_path, f"{HEAD}{BOUNDS}(assert (<= {term} 0.0))").queries
    assert clauses(query) == [([row], [offset])]


def test_numbers_are_taken_from_the_text(package):
    _, formula = parse_version2(HEAD + "(assert (<= logits[0,0] 0.10000000000000000000000000001))")
    assert str(-formula.parts[0].constant) == "10000000000000000000000000001/100000000000000000000000000000"


@pytest.mark.parametrize(
    ("shape", "index", "flat"), [("[2,3,4]", "[1,2,3]", 23), ("[2,3,4]", "[1,0,1]", 13), ("[]", "", 0)]
)
def test_elements_are_numbered_row_by_row(package, shape, index, flat):
    text = f"(vnnlib-version <2.0>)(declare-network f(declare-input X real {shape})(declare-output Y real [1]))"
    _, formula = parse_version2(f"{text}(assert (<= X{index} 1.0))")
    assert [(name.kind, name.number) for name in formula.parts[0].factors] == [("X", flat)]


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        (
            "real [1,3]",
            "float16 [1,3]",
            UnsupportedError,
            "the output logits has elements F16; supported: real, float32",
        ),
        ("(declare-output", '(declare-hidden H real [1] "n;)")(declare-output', UnsupportedError, "hidden node 'H'"),
        (
            "(declare-output",
            "(declare-input z real [1])(declare-output",
            UnsupportedError,
            r"several inputs \(picture, z\)",
        ),
        ("(assert", NETWORK + "(assert", UnsupportedError, r"several networks \(f, g\)"),
        ("<= logits", "!= logits", UnsupportedError, "line 9: comparisons with '!='"),
        ("<= logits", "< logits", UnsupportedError, "line 9: comparisons with '<'"),
        ("logits[0,1]", "(* logits[0,1] logits[0,1])", UnsupportedError, "line 9: products of variables"),
        ("logits[0,1]", "picture[0,0]", UnsupportedError, "line 9: a comparison of X_0 with outputs"),
        ("logits[0,1]", "logits[0,3]", FileFormatError, "line 9: Index out of bounds"),
        ("logits[0,1]", "logits[0]", FileFormatError, "line 9: Not enough indices"),
        ("logits[0,1]", "other[0,1]", FileFormatError, "line 9: Undeclared variable at 'other'"),
        ("logits[0,1]", "logits[0,-1]", FileFormatError, r"line 9: '\[0,-1\]' is no list of indices"),
        ("logits[0,1]", "logits[0,1.5]", FileFormatError, r"line 9: '\[0,1\.5\]' is no list of indices"),
        ("[1,3]", "[1,3.5]", FileFormatError, r"line 5: '\[1,3\.5\]' is no list of indices"),
        ("[1,3]", "[1,99999999999]", FileFormatError, r"line 5: '\[1,99999999999\]' is no list"),
        ("[1,3]", "[1,0]", FileFormatError, "line 5: Failed to parse dimension"),
        ("<2.0>", "<3.0>", FileFormatError, "line 2: Incompatible VNNLib version"),
        ("<2.0>", "<99999999999.0>", FileFormatError, "not VNN-LIB 2.0"),
        ("(<= logits", "(<= logits logits", FileFormatError, "not VNN-LIB 2.0"),
        ("-0.5", "-0.5e0", FileFormatError, "not VNN-LIB 2.0"),
        ("(assert", "(assert (", FileFormatError, "is never closed; is the file complete"),
    ],
)
def test_everything_else_is_refused(package, tmp_path, old, new, error, message):
    text = HEAD + BOUNDS + "(assert (<= logits[0,0] logits[0,1]))"
    assert read(tmp_path, text).queries
    with pytest.raises(error, match=message) as caught:
        read(tmp_path, text.replace(old, new, 1))
    assert "\n" not in str(caught.value)


def test_nothing_but_version_2_is_tried_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vnnlib", None)
    path = tmp_path / "p.vnnlib"
    path.write_text(HEAD + BOUNDS)
    with pytest.raises(UnsupportedError, match=r"VNN-LIB 2\.0 needs the package vnnlib, 1\.0 or later: pip install"):
        read_vnnlib(path)


def test_both_versions_say_the_same(package, tmp_path):
    two = HEAD + BOUNDS + "(assert (or (<= logits[0,0] logits[0,1]) (and (>= logits[0,2] 0.1) (<= logits[0,1] 3.0))))"
    one = "".join(f"(declare-const {name} Real)\n" for name in ("X_0", "X_1", "Y_0", "Y_1", "Y_2"))
    one += two[len(HEAD) :].replace("picture[0,0]", "X_0").replace("picture[1,0]", "X_1").replace("logits[0,", "Y_")
    one = one.replace("Y_0]", "Y_0").replace("Y_1]", "Y_1").replace("Y_2]", "Y_2")
    (first,), (second,) = read(tmp_path, one).queries, read(tmp_path, two).queries
    assert (first.lower.tolist(), first.upper.tolist()) == (second.lower.tolist(), second.upper.tolist())
    assert clauses(first) == clauses(second)
