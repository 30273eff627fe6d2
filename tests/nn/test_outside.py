"""The calls of a forward pass are seen whatever else watches, and nothing is left behind."""

from __future__ import annotations

import cProfile
import gc
import random
import sys
import time

import pytest

from abcrown_graft.nn.outside import Findings, watched_calls


@pytest.fixture
def findings() -> Findings:
    return Findings()


def test_a_call_is_told_with_its_module(findings: Findings) -> None:
    with watched_calls(findings):
        time.time()
    assert findings.found == ["time.time depends on the time"]


def test_calls_of_the_standard_library_are_not_those_of_the_forward_pass(findings: Findings) -> None:
    with watched_calls(findings):
        sorted([2, 1], key=lambda n: n)
    assert findings.found == []


def test_generators_that_everybody_shares_are_compared_too(findings: Findings) -> None:
    draw = random.Random.shuffle  # seen as a function of `random`, and by what it leaves
    with watched_calls(findings):
        draw(random._inst, [1, 2])  # type: ignore[attr-defined]
    assert any(found == "random draws random numbers" for found in findings.found)


def test_what_the_collector_calls_is_not_told(findings: Findings) -> None:
    def noted(phase: str, info: dict[str, int]) -> None:
        global _NOTED
        _NOTED = phase

    gc.callbacks.append(noted)
    try:
        with watched_calls(findings):
            _ = [[] for _ in range(10**5)]
        assert gc.isenabled() and findings.found == []
    finally:
        gc.callbacks.remove(noted)


def test_a_profiler_that_is_a_function_comes_back() -> None:
    def profiler(*_: object) -> None: ...

    before = sys.getprofile()
    sys.setprofile(profiler)
    try:
        with watched_calls(Findings()):
            assert sys.getprofile() is not profiler
        found = sys.getprofile()
    finally:
        sys.setprofile(before)
    assert found is profiler


def test_python_s_own_profiler_is_paused_and_goes_on(findings: Findings) -> None:
    profile = cProfile.Profile()
    profile.enable()
    try:
        with watched_calls(findings):
            time.time()
        sum([1, 2])
    finally:
        profile.disable()
    assert findings.found and any("sum" in str(entry.code) for entry in profile.getstats())


def test_an_error_in_the_body_ends_the_watch() -> None:
    before = sys.getprofile()
    with pytest.raises(ValueError, match="mine"), watched_calls(Findings()):
        raise ValueError("mine")
    assert sys.getprofile() is before
