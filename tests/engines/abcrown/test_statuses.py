"""What α,β-CROWN's words are taken for; nothing but its own words for verified makes a verdict `verified`."""

from __future__ import annotations

import math
from typing import Any

import pytest
from fake_abcrown import safe

from abcrown_graft.engines.abcrown.statuses import VERDICTS, Outcome, failed, outcome_of
from abcrown_graft.verdict import Verdict


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("safe", "verified"),
        ("safe-incomplete", "verified"),
        ("safe-incomplete-refine", "verified"),
        ("safe-mip", "verified"),
        ("safe (timed out)", "verified"),
        ("unsafe-pgd", "falsified"),
        ("unsafe-bab", "falsified"),
        ("unsafe-mip (timed out)", "falsified"),
        ("unsafe", "falsified"),
        ("unknown", "unknown"),
        ("unknown-mip", "unknown"),
    ],
)
def test_one_verdict_for_each_status(status: str, verdict: str) -> None:
    outcome = outcome_of(safe(None, status))
    assert outcome == Outcome(Verdict(verdict), status, 1.0)


def test_an_instance_that_had_its_time_is_a_timeout() -> None:
    assert outcome_of({**safe(-1.0, "unknown"), "seconds": 20.5, "timeout": 20}).verdict is Verdict.TIMEOUT
    assert outcome_of({**safe(-1.0, "unknown"), "seconds": 19.5, "timeout": 20}).verdict is Verdict.UNKNOWN
    assert outcome_of({**safe(None, "safe"), "seconds": 20.5, "timeout": 20}).verdict is Verdict.VERIFIED


@pytest.mark.parametrize("status", ("", "safely", "unsafe-", "SAFE", "timeout", "safe (late)", "verified", " safe"))
def test_other_words_are_an_error(status: str) -> None:
    outcome = outcome_of(safe(0.5, status))
    assert outcome.verdict is Verdict.ERROR and repr(status) in str(outcome.reason)


@pytest.mark.parametrize("lower", (math.nan, 0.0, -1e-9, -math.inf))
@pytest.mark.parametrize("status", sorted(word for word, verdict in VERDICTS.items() if verdict is Verdict.VERIFIED))
def test_a_proof_with_a_bound_that_proves_nothing_is_an_error(status: str, lower: float) -> None:
    outcome = outcome_of(safe(lower, status))
    assert outcome.verdict is Verdict.ERROR and str(lower) in str(outcome.reason)


def test_bounds_are_kept_if_they_are_numbers() -> None:
    assert outcome_of(safe(0.25)).lower_bound == 0.25
    assert outcome_of(safe(-0.25, "unknown")).lower_bound == -0.25
    assert outcome_of(safe(math.nan, "unknown")).lower_bound is None


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"status": "safe"},
        {**safe(), "status": None},
        {**safe(), "status": ["safe"]},
        {**safe(), "seconds": "soon"},
        {**safe(), "lower": "high"},
        {**safe(), "lower": [1]},
        {**safe(), "timeout": None},
    ],
    ids=str,
)
def test_a_report_that_cannot_be_read_is_an_error(report: dict[str, Any]) -> None:
    outcome = outcome_of(report)
    assert outcome.verdict is Verdict.ERROR and "cannot be read" in str(outcome.reason)


@pytest.mark.parametrize(("memory", "verdict"), [(False, "error"), (True, "out-of-memory"), ("yes", "error")])
def test_failures_stay_failures(memory: object, verdict: str) -> None:
    outcome = outcome_of({**safe(), "error": "RuntimeError: x", "out_of_memory": memory})
    assert outcome == Outcome(Verdict(verdict), verdict, 1.0, reason="RuntimeError: x")


def test_failed_without_a_report() -> None:
    assert failed("gone", 2.0, True) == Outcome(Verdict.OUT_OF_MEMORY, "out-of-memory", 2.0, reason="gone")
