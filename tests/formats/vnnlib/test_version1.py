from __future__ import annotations

import pytest

from abcrown_graft.errors import FileFormatError, UnsupportedError
from abcrown_graft.formats.vnnlib.formula import And, Or, Variable
from abcrown_graft.formats.vnnlib.interface import Interface, TensorDeclaration
from abcrown_graft.formats.vnnlib.version1 import parse_version1

HEAD = "(declare-const X_0 Real)\n(declare-const Y_0 Real)\n(declare-const Y_1 Real)\n"


def parse_assertion(text: str):
    (part,) = parse_version1(f"{HEAD}(assert {text})")[1].parts
    return part


def test_declarations_give_the_interface():
    interface, formula = parse_version1(HEAD)
    assert interface == Interface(
        "1.0", None, TensorDeclaration("X", "real", (1,)), TensorDeclaration("Y", "real", (2,))
    )
    assert formula == And(())


def test_assertions_are_all_required():
    _, formula = parse_version1(f"{HEAD}(assert (<= X_0 1))\n(assert (or (<= Y_0 1) (and (>= Y_1 2) (<= Y_0 Y_1))))")
    bound, choice = formula.parts
    assert bound.line == 4 and bound.bounds_input
    assert isinstance(choice, Or) and isinstance(choice.parts[1], And)


@pytest.mark.parametrize(
    ("text", "factors", "constant"),
    [
        ("(<= Y_0 Y_1)", {0: 1, 1: -1}, 0),
        ("(>= Y_0 Y_1)", {0: -1, 1: 1}, 0),
        ("(<= (+ Y_0 Y_1 1) 3)", {0: 1, 1: 1}, -2),
        ("(<= (- Y_0) 3)", {0: -1}, -3),
        ("(<= (- Y_0 Y_1 1) 0)", {0: 1, 1: -1}, -1),
        ("(<= (* 2 Y_0) (* 3 (- Y_1 1) 2))", {0: 2, 1: -6}, 6),
        ("(<= (- 1) (+ Y_0))", {0: -1}, -1),
        ("(>= 2.5 (* Y_1 2))", {1: 2}, -2.5),
    ],
)
def test_linear_terms(text, factors, constant):
    atom = parse_assertion(text)
    assert {name: float(factor) for name, factor in atom.factors.items()} == {
        Variable("Y", j): factor for j, factor in factors.items()
    }
    assert atom.constant == constant


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("(assert (<= X_0 1)) trash", FileFormatError, r"line 4: 'trash' stands where an expression \(...\) belongs"),
        ("()", FileFormatError, "line 4: this expression starts with no word"),
        ("((assert))", FileFormatError, "line 4: this expression starts with no word"),
        ("(check-sat)", FileFormatError, "line 4: 'check-sat' is neither declare-const nor assert"),
        ("(declare-network f)", FileFormatError, "'declare-network' is neither"),
        ("(assert)", FileFormatError, "line 4: 'assert' takes 1, not 0, arguments"),
        ("(assert (<= X_0 1) (<= X_0 2))", FileFormatError, "'assert' takes 1, not 2, arguments"),
        ("(assert true)", FileFormatError, "'true' stands where an expression"),
        ("(assert (<= X_0))", FileFormatError, "'<=' takes 2, not 1, arguments"),
        ("(assert (<= 0 X_0 1))", FileFormatError, "'<=' takes 2, not 3, arguments"),
        ("(assert (and))", FileFormatError, r"\(and\) without arguments"),
        ("(assert (or))", FileFormatError, r"\(or\) without arguments"),
        ("(assert (<= (+) Y_0))", FileFormatError, r"\(\+\) without arguments"),
        ("(assert (not (<= Y_0 1)))", UnsupportedError, "line 4: 'not' is not supported; known: and, or, <=, >=, ="),
        ("(assert (let ((a 1)) (<= Y_0 a)))", UnsupportedError, "'let' is not supported"),
        ("(assert (< Y_0 1))", UnsupportedError, "comparisons with '<'"),
        ("(assert (<= (/ Y_0 2) 1))", UnsupportedError, r"'/' is not supported in a term; known: \+, -, \*"),
        ("(assert (<= (* Y_0 Y_1) 1))", UnsupportedError, "products of variables"),
        ("(assert\n(<= Y_7 1))", FileFormatError, "line 5: 'Y_7' is not declared"),
        ("(assert (<= Y_00 1))", FileFormatError, "'Y_00' is neither a variable nor a number"),
        ("(assert (<= Y_0 1.0.0))", FileFormatError, "'1.0.0' is neither a variable nor a number"),
        ("(assert (<= Y_0 nan))", FileFormatError, "'nan' is neither a variable nor a number"),
        ("(declare-const X_0 Real)", FileFormatError, "line 4: X_0 is declared again, first in line 1"),
        ("(declare-const X_1 Int)", UnsupportedError, "line 4: X_1 is declared 'Int'; only Real is supported"),
        ("(declare-const Z_0 Real)", FileFormatError, "line 4: 'Z_0' is declared, but only names like X_0"),
        ("(declare-const X_01 Real)", FileFormatError, "'X_01' is declared"),
        ("(declare-const X_1)", FileFormatError, "line 4: declare-const takes a name and a sort"),
        ("(declare-const (X_1) Real)", FileFormatError, "declare-const takes a name and a sort"),
        ("(declare-const X_2 Real)", FileFormatError, "X_1 is not declared"),
    ],
)
def test_everything_else_is_refused_with_its_line(text, error, message):
    with pytest.raises(error, match=message):
        parse_version1(HEAD + text)


@pytest.mark.parametrize(
    ("text", "message"), [("", "X_0 is not declared"), ("(declare-const X_0 Real)", "Y_0 is not declared")]
)
def test_inputs_and_outputs_must_be_declared(text, message):
    with pytest.raises(FileFormatError, match=message):
        parse_version1(text)


def test_a_variable_is_declared_before_it_is_used():
    with pytest.raises(FileFormatError, match="line 4: 'Y_2' is not declared"):
        parse_version1(f"{HEAD}(assert (<= Y_2 1))\n(declare-const Y_2 Real)")
