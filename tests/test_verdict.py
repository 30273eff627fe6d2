from __future__ import annotations

import json

import pytest

from abcrown_graft.verdict import InstanceResult, Verdict

RESULT = InstanceResult(7, 3, 1, Verdict.FALSIFIED, "unsafe-pgd", 0.25, None, -1.5, None)


def test_there_are_six_verdicts_that_print_as_their_names():
    assert [str(verdict) for verdict in Verdict] == [
        "verified", "falsified", "unknown", "timeout", "out-of-memory", "error",
    ]  # fmt: skip


@pytest.mark.parametrize("verdict", Verdict)
def test_a_result_survives_json(verdict):
    result = InstanceResult(7, 3, -1, verdict, str(verdict), 0.1 + 0.2, 1e-30, float("inf"), 'a "reason" ε')
    assert InstanceResult.from_record(json.loads(json.dumps(result.to_record()))) == result


def test_the_record_names_its_fields():
    assert RESULT.to_record() == {
        "index": 7,
        "label": 3,
        "predicted": 1,
        "verdict": "falsified",
        "status": "unsafe-pgd",
        "seconds": 0.25,
        "lower_bound": None,
        "margin": -1.5,
        "reason": None,
    }


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"verdict": "safe"}, ValueError),
        ({"verdict": None}, ValueError),
        ({"index": "7"}, ValueError),
        ({"index": 7.0}, ValueError),
        ({"label": None}, ValueError),
        ({"predicted": True}, ValueError),
        ({"seconds": "0.1"}, ValueError),
        ({"seconds": None}, ValueError),
        ({"seconds": float("nan")}, ValueError),
        ({"seconds": float("inf")}, ValueError),
        ({"seconds": -1.0}, ValueError),
        ({"seconds": True}, ValueError),
        ({"index": -1}, ValueError),
        ({"label": -2}, ValueError),
        ({"predicted": -2}, ValueError),
        ({"verdict": ["verified"]}, ValueError),
        ({"status": None}, ValueError),
        ({"status": 3}, ValueError),
        ({"lower_bound": "x"}, ValueError),
        ({"lower_bound": [0.5]}, ValueError),
        ({"lower_bound": False}, ValueError),
        ({"lower_bound": float("nan")}, ValueError),
        ({"margin": "x"}, ValueError),
        ({"margin": float("nan")}, ValueError),
        ({"reason": 3}, ValueError),
        ({"extra": 1}, TypeError),
    ],
)
def test_a_record_that_is_none_of_ours_is_refused(change, error):
    with pytest.raises(error):
        InstanceResult.from_record({**RESULT.to_record(), **change})


@pytest.mark.parametrize("bound", [None, 1, -0.5, float("inf"), float("-inf")])
def test_bounds_may_be_missing_or_infinite(bound):
    record = {**RESULT.to_record(), "lower_bound": bound, "margin": bound}
    assert InstanceResult.from_record(record).lower_bound == InstanceResult.from_record(record).margin == bound


@pytest.mark.parametrize("missing", ["index", "label", "predicted", "verdict", "status", "seconds"])
def test_a_record_that_lacks_a_field_is_refused(missing):
    record = RESULT.to_record()
    del record[missing]
    with pytest.raises((KeyError, TypeError)):
        InstanceResult.from_record(record)
