from __future__ import annotations

import re

import pytest

from abcrown_graft.verdict import InstanceResult, Verdict
from abcrown_graft.verify.summary import summary_lines

# What α,β-CROWN prints at the end of a run of 30 images.
EXPECTED = """\
############# Summary #############
Final verified acc: 40.0% (total 30 examples)
Problem instances count: 30 , total verified (safe/unsat): 12 , total falsified (unsafe/sat): 17 , timeout: 1
mean time for ALL instances (total 30):6.403053708366253, max time: 102.61376595497131
mean time for verified SAFE instances(total 12): 7.235748370488484, max time: 39.943443059921265
mean time for verified (SAFE + UNSAFE) instances (total 29): 3.0854451491914947, max time: 39.943443059921265
mean time for verified SAFE + TIMEOUT instances (total 13): 14.57251895391024, max time: 102.61376595497131
mean time for verified UNSAFE instances (total 17): 0.15581934592303107, max time: 2.051705837249756
unsafe-pgd (total 17), index: [0, 1, 3, 4, 5, 6, 7, 9, 10, 12, 13, 15, 16, 18, 19, 25, 29]
safe-incomplete (total 11), index: [2, 8, 14, 17, 20, 21, 22, 23, 26, 27, 28]
safe (total 1), index: [11]
unknown (total 1), index: [24]
"""
GROUPS = {
    "unsafe-pgd": (Verdict.FALSIFIED, [0, 1, 3, 4, 5, 6, 7, 9, 10, 12, 13, 15, 16, 18, 19, 25, 29]),
    "safe-incomplete": (Verdict.VERIFIED, [2, 8, 14, 17, 20, 21, 22, 23, 26, 27, 28]),
    "safe": (Verdict.VERIFIED, [11]),
    "unknown": (Verdict.UNKNOWN, [24]),
}
NUMBER = re.compile(r"\d+\.\d+")


def others(mean: float, count: int, largest: float) -> float:
    """What each of the others took, if they took the same."""
    return (mean * count - largest) / (count - 1)


SECONDS = {
    "unsafe-pgd": others(0.15581934592303107, 17, 2.051705837249756),
    "safe-incomplete": others(7.235748370488484, 12, 39.943443059921265),
    "safe": 39.943443059921265,
    "unknown": 102.61376595497131,
}


def result(index: int, verdict: Verdict, status: str, seconds: float = 1.0) -> InstanceResult:
    return InstanceResult(index, 0, 0, verdict, status, seconds)


def published_run() -> list[InstanceResult]:
    found = {
        index: result(index, verdict, status, 2.051705837249756 if index == 0 else SECONDS[status])
        for status, (verdict, indices) in GROUPS.items()
        for index in indices
    }
    return [found[index] for index in range(30)]


def test_the_words_order_and_numbers_are_those_of_alpha_beta_crown():
    lines = summary_lines(published_run())
    expected = EXPECTED.splitlines()
    assert [NUMBER.sub("#", line) for line in lines] == [NUMBER.sub("#", line) for line in expected]
    for line, wanted in zip(lines, expected, strict=True):
        # α,β-CROWN divides the time of all instances by n + 1e-5, we by n.
        precision = 1e-6 if "ALL instances" in line else 1e-12
        numbers = [float(number) for number in NUMBER.findall(line)]
        assert numbers == pytest.approx([float(number) for number in NUMBER.findall(wanted)], rel=precision)


def test_images_are_called_by_their_number_in_the_data_set():
    lines = summary_lines([result(1007, Verdict.VERIFIED, "safe"), result(3, Verdict.VERIFIED, "safe")])
    assert lines[-1] == "safe (total 2), index: [1007, 3]"
    assert lines[1] == "Final verified acc: 100.0% (total 2 examples)"


def test_no_images_have_a_summary_too():
    assert summary_lines([]) == [
        "############# Summary #############",
        "Final verified acc: 0.0% (total 0 examples)",
        "Problem instances count: 0 , total verified (safe/unsat): 0 , total falsified (unsafe/sat): 0 , timeout: 0",
    ]


def test_failures_are_undecided_and_named_in_lines_of_their_own():
    lines = summary_lines(
        [
            result(0, Verdict.OUT_OF_MEMORY, "out-of-memory", 3.0),
            result(1, Verdict.ERROR, "error", 1.0),
            result(2, Verdict.TIMEOUT, "timeout", 5.0),
            result(3, Verdict.ERROR, "error", 1.0),
        ]
    )
    assert lines[1:] == [
        "Final verified acc: 0.0% (total 4 examples)",
        "Problem instances count: 4 , total verified (safe/unsat): 0 , total falsified (unsafe/sat): 0 , timeout: 4",
        "mean time for ALL instances (total 4):2.5, max time: 5.0",
        "mean time for verified SAFE + TIMEOUT instances (total 4): 2.5, max time: 5.0",
        "out-of-memory (total 1), index: [0]",
        "error (total 2), index: [1, 3]",
        "timeout (total 1), index: [2]",
    ]
