"""No verdict contradicts the agreed ones of VNN-COMP's benchmarks.

By default a spread of quick instances. `VNNCOMP=mnistfc_2021,oval21_2021` runs all of those benchmarks instead, and
`VNNCOMP_SECONDS` is each instance's time limit.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from vnncomp import (
    Instance,
    Outcome,
    counterexample_faults,
    parse_property,
    read_instances,
    read_property,
    verify_instance,
)

from abcrown_graft.search.bab import SearchSettings
from abcrown_graft.verdict import Verdict
from abcrown_graft.verify.problem import VerifySettings

BENCHMARKS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "benchmarks"
needs_benchmarks = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the benchmarks are not at ../shared")

CHOSEN = os.environ.get("VNNCOMP")
SETTINGS = VerifySettings(timeout=float(os.environ.get("VNNCOMP_SECONDS", "6")), search=SearchSettings())

SPREAD = {"test": range(5), "mnistfc_2021": (0, 7, 9, 13, 15, 18, 42, 43, 47, 62)}
"""Positions of the default instances."""
LEAST = {"unsat": (Verdict.VERIFIED, 7), "sat": (Verdict.FALSIFIED, 4)}
"""Of the default instances (10 and 5) at least so many are decided; a slow machine may leave the hardest open."""


def chosen_instances() -> list[Instance]:
    """Of the benchmarks in VNNCOMP, else the spread."""
    if not BENCHMARKS.is_dir():
        return []
    if CHOSEN:
        return [instance for name in CHOSEN.split(",") for instance in read_instances(BENCHMARKS / name)]
    return [read_instances(BENCHMARKS / name)[k] for name, positions in SPREAD.items() for k in positions]


INSTANCES = chosen_instances()


@pytest.fixture(scope="module")
def outcome_of(one_thread: None) -> Callable[[Instance], Outcome]:
    """Verifies an instance, once."""
    return cache(lambda instance: verify_instance(instance, SETTINGS))


@needs_benchmarks
class TestVerdicts:
    @pytest.mark.parametrize("instance", INSTANCES, ids=str)
    def test_agrees(self, outcome_of, instance: Instance):
        outcome = outcome_of(instance)
        assert outcome.result.verdict not in (Verdict.ERROR, Verdict.OUT_OF_MEMORY), outcome.result.reason
        assert not outcome.contradicts, f"{outcome.result.verdict}, but it is {instance.expected}"
        assert (outcome.result.verdict == Verdict.FALSIFIED) == (outcome.counterexample is not None)
        if outcome.result.verdict == Verdict.FALSIFIED:
            assert counterexample_faults(outcome) == []

    @pytest.mark.skipif(bool(CHOSEN), reason="the number is that of the default instances")
    @pytest.mark.parametrize("expected", LEAST)
    def test_enough_is_decided(self, outcome_of, expected: str):
        found = [outcome_of(i).result.verdict for i in INSTANCES if i.expected == expected]
        verdict, least = LEAST[expected]
        assert found.count(verdict) >= least, f"{list(map(str, found))} of those that are {expected}"

    def test_a_wrong_verdict_would_be_seen(self, outcome_of):
        """The judge refuses false agreement, a safe point, one outside, and a counterexample that is missing."""
        outcome = outcome_of(next(i for i in INSTANCES if i.expected == "sat"))
        assert replace(outcome, instance=replace(outcome.instance, expected="unsat")).contradicts
        proved = replace(outcome, result=replace(outcome.result, verdict=Verdict.VERIFIED), counterexample=None)
        assert proved.contradicts and counterexample_faults(proved) == ["there is none"]
        holds = next(i for i in INSTANCES if i.expected == "unsat")
        box = read_property(holds.property)
        safe = replace(outcome, instance=holds, counterexample=(box.lower + box.upper) / 2)
        assert [fault.split(" by ")[0] for fault in counterexample_faults(safe)] == ["its output is safe"]
        outside = replace(safe, counterexample=np.nextafter(box.lower, -np.inf))
        assert counterexample_faults(outside)[0] == "outside the box"


DECLARED = "".join(f"(declare-const {name} Real)" for name in ("X_0", "X_1", "Y_0", "Y_1"))
BOX = "(assert (>= X_0 -1)) (assert (<= X_0 0.1)) (assert (and (<= 2e-1 X_1) (<= X_1 3))) ; (assert (<= X_1 0))\n"


class TestProperties:
    def test_a_disjunction(self):
        """Unsafe is y0 <= y1 with y1 >= 2, or y0 <= -3."""
        text = DECLARED + BOX + "(assert (or (and (<= Y_0 Y_1) (>= Y_1 2)) (<= Y_0 -3)))"
        found = parse_property(text)
        assert found.lower.tolist() == [-1.0, 0.2] and found.upper.tolist() == [0.1, 3.0]
        for output, excess in {(1.0, 2.5): -0.5, (1.0, 1.5): 0.5, (3.0, 2.5): 0.5, (-5.0, 0.0): -2.0}.items():
            assert found.excess(np.array(output)) == excess
            margin = found.specification((2, 1)).margins(torch.tensor([output], dtype=torch.float64))
            assert margin.tolist() == [excess], "the engine's own evaluation of the translated property"

    def test_bounds_within_the_disjunction(self):
        inside = "(>= X_0 0) (<= X_0 1) (>= X_1 0) (<= X_1 1)"
        found = parse_property(f"{DECLARED}(assert (or (and {inside} (<= Y_0 0)) (and (<= Y_1 0) {inside})))")
        assert found.upper.tolist() == [1.0, 1.0]
        assert [[(row.tolist(), offset) for row, offset in d] for d in found.unsafe] == [
            [([1.0, 0.0], 0.0)],
            [([0.0, 1.0], 0.0)],
        ]

    @pytest.mark.parametrize(
        "text, message",
        [
            ("(assert (<= Y_0 0))", "an input is not bounded"),
            (BOX + "(assert (or (and (<= X_0 0) (<= Y_0 0)) (<= Y_1 0)))", "different boxes"),
            (BOX + "(assert (<= X_0 Y_0))", "not supported: X_0 <= Y_0"),
            (BOX + "(assert (<= (+ Y_0 Y_1) 0))", "not supported: .*Y_0.*Y_1"),
            (BOX + "(assert (not (<= Y_0 0)))", "not supported: .*not"),
        ],
    )
    def test_what_is_not_read_is_refused(self, text: str, message: str):
        with pytest.raises(ValueError, match=message):
            parse_property(DECLARED + text)
