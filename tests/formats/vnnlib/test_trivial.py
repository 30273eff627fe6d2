"""A property that holds, or fails, whatever the network is remarked on, with the lines by which it does."""

from __future__ import annotations

import pytest

from abcrown_graft.errors import FileFormatError, UnsupportedError
from abcrown_graft.formats.vnnlib.disjuncts import normal_form
from abcrown_graft.formats.vnnlib.query import make_queries
from abcrown_graft.formats.vnnlib.trivial import Remark, remark_on
from abcrown_graft.formats.vnnlib.version1 import parse_version1

HEAD = "".join(f"(declare-const {name} Real)" for name in ("X_0", "X_1", "Y_0", "Y_1", "Y_2"))
UNIT = "(assert (>= X_0 0)) (assert (<= X_0 1)) (assert (>= X_1 0)) (assert (<= X_1 1))"


def remark(*lines: str) -> Remark | None:
    """Of assertions that stand on lines 2, 3, ...; line 1 bounds both inputs by 0 and 1."""
    text = "\n".join([HEAD + UNIT, *(f"(assert {line})" for line in lines)])
    form = normal_form(parse_version1(text)[1])
    return remark_on(form, reachable=bool(make_queries(form, 2, 3)))


HOLDS = {
    "an input between bounds that are crossed": (["(>= X_0 2)", "(<= Y_0 0)"], "lines 1 and 2 contradict each other"),
    "an input with two values": (["(= X_0 0.5)", "(= X_0 0.25)", "(<= Y_0 0)"], "lines 2 and 3 contradict"),
    "an input that misses by a little": (["(>= X_0 1.00000000000000000000001)", "(<= Y_0 0)"], "lines 1 and 2"),
    "an output between crossed bounds": (["(>= Y_0 1)", "(<= Y_0 0)"], "lines 2 and 3 contradict each other"),
    "on one line": (["(and (>= Y_0 1) (<= Y_0 0))"], "line 2 contradicts itself"),
    "outputs that exceed each other": (["(>= Y_0 (+ Y_1 1))", "(>= Y_1 Y_0)"], "lines 2 and 3"),
    "outputs in a circle": (["(<= Y_0 Y_1)", "(<= Y_1 Y_2)", "(<= Y_2 (- Y_0 0.1))"], "lines 2, 3 and 4"),
    "multiples": (["(<= (+ (* 2 Y_0) (* 2 Y_1)) 1)", "(>= (+ Y_0 Y_1) 0.75)"], "lines 2 and 3"),
    "each disjunct by its outputs": (
        ["(>= Y_0 1)", "(or (<= Y_0 0) (<= (+ Y_0 1) 1.5))"],
        "each of 2 disjuncts is contradictory, the first because lines 2 and 3",
    ),
    "each disjunct by its inputs": (
        ["(or (and (<= X_0 -1) (<= Y_0 0)) (and (>= X_1 2) (<= Y_0 0)))"],
        "each of 2 disjuncts is contradictory, the first because lines 1 and 2",
    ),
    "one by its inputs, the other by its outputs": (
        ["(or (and (<= X_0 -1) (<= Y_0 0)) (and (>= Y_1 2) (<= Y_1 0)))"],
        "each of 2 disjuncts is contradictory, the first because lines 1 and 2",
    ),
}


@pytest.mark.parametrize(("lines", "told"), HOLDS.values(), ids=HOLDS)
def test_every_network_has_it(lines: list[str], told: str) -> None:
    found = remark(*lines)
    assert found is not None and found.holds
    assert told in found.text
    assert found.text.endswith(": there is no counterexample, and every network has the property (unsat)")
    assert "\n" not in found.text


VIOLATED = {
    "a disjunct without outputs": ["(or (<= X_0 0.5) (<= Y_0 0))"],
    "two half-lines": ["(or (<= Y_0 1) (>= Y_0 0))"],
    "two half-lines that meet": ["(or (<= Y_0 1) (>= Y_0 1))"],
    "some output is the largest": ["(or (>= Y_0 Y_1) (>= Y_1 Y_2) (>= Y_2 Y_0))"],
    "among other disjuncts": ["(or (<= Y_0 1) (and (<= Y_1 0) (<= Y_2 0)) (>= Y_0 0))"],
    "in a box of their own": ["(or (and (<= X_0 0.5) (<= Y_0 1)) (and (>= Y_0 0) (<= X_0 0.5)) (<= Y_1 9))"],
}


@pytest.mark.parametrize("lines", VIOLATED.values(), ids=VIOLATED)
def test_no_network_has_it(lines: list[str]) -> None:
    found = remark(*lines)
    assert found is not None and not found.holds and found.line == 2
    consequence = "every input of the box is a counterexample, and no network has the property (sat)"
    assert found.text == f"line 2 allows every output: {consequence}"


ORDINARY = {
    "a bound": ["(<= Y_0 0)"],
    "a point": ["(>= X_0 1)", "(<= Y_0 0)"],
    "bounds that meet": ["(>= Y_0 1)", "(<= Y_0 1)"],
    "one of two disjuncts is contradictory": ["(or (and (>= Y_0 1) (<= Y_0 0)) (<= Y_1 0))"],
    "one of two boxes is empty": ["(or (and (>= X_0 2) (<= Y_0 0)) (<= Y_1 0))"],
    "half-lines with a gap": ["(or (<= Y_0 0) (>= Y_0 0.00000000000000000000001))"],
    "half-lines of two boxes": ["(or (and (<= X_0 0.5) (<= Y_0 1)) (and (>= X_0 0.5) (>= Y_0 0)))"],
    "half-lines of which one has an empty box": ["(or (and (>= X_0 2) (<= Y_0 1)) (>= Y_0 0))"],
    "an empty box without outputs": ["(or (>= X_0 2) (<= Y_0 1))"],
    "half-lines and a bound of all": ["(or (<= Y_0 1) (>= Y_0 0))", "(<= Y_1 0)"],
    "robustness": ["(or (>= Y_1 Y_0) (>= Y_2 Y_0))"],
}


@pytest.mark.parametrize("lines", ORDINARY.values(), ids=ORDINARY)
def test_others_are_not_remarked_on(lines: list[str]) -> None:
    assert remark(*lines) is None


ERRORS = {
    "no assertion about outputs": ["(<= X_0 0.5)"],
    "an output compared with itself": ["(<= Y_0 Y_0)"],
    "an output strictly compared with itself": ["(< Y_0 Y_0)"],
    "an output that cancels out": ["(>= (- Y_0 Y_0) 1)"],
    "numbers": ["(<= 1 0)"],
    "an input with itself": ["(= X_0 X_0)", "(<= Y_0 0)"],
    "false": ["false"],
    "true": ["true", "(<= Y_0 0)"],
    "an empty disjunction": ["(or)"],
    "an empty conjunction": ["(and)"],
    "a negation": ["(not (<= Y_0 Y_0))"],
}


@pytest.mark.parametrize("lines", ERRORS.values(), ids=ERRORS)
def test_what_says_nothing_of_the_network_is_an_error(lines: list[str]) -> None:
    with pytest.raises((FileFormatError, UnsupportedError), match="line 2|no assertion is about an output"):
        remark(*lines)
