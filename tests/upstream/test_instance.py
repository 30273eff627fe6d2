"""What becomes of a task that fails, and of a network that is not the parent's."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import upstream

from abcrown_graft.engines.abcrown.job import Task
from abcrown_graft.errors import ModelError

instance = upstream.imported("abcrown_graft.engines.abcrown.instance")
subject = upstream.imported("abcrown_graft.engines.abcrown.subject")

pytestmark = pytest.mark.filterwarnings("ignore")

TASK = Task(4, 0, True)
EXPECTED = torch.tensor([[1.0, 2.0], [math.nan, 0.0], [3000.0, 1.0], [math.inf, 1.0]])
ALLOWED = 1e-3 * (1 + EXPECTED.abs())


def attempt(error: BaseException | None, monkeypatch: pytest.MonkeyPatch, cleaning: Exception | None = None) -> Any:
    """The report of a host whose task ends with an exception, or well."""

    def do(task: Task) -> dict[str, Any]:
        if error is not None:
            raise error
        return {"status": "safe"}

    def empty_cache() -> None:
        if cleaning is not None:
            raise cleaning

    monkeypatch.setattr(torch.cuda, "empty_cache", empty_cache)
    return instance.Host.attempt(SimpleNamespace(_do=do), TASK)


def test_an_exception_is_reported_and_the_process_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    report = attempt(ValueError("odd"), monkeypatch)
    assert report["error"] == "ValueError: odd" and report["out_of_memory"] is False and "last" not in report
    assert attempt(None, monkeypatch) == {"status": "safe"}
    assert attempt(SystemExit(1), monkeypatch)["error"] == "SystemExit: 1"


def test_out_of_memory_is_told_and_the_process_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    report = attempt(torch.OutOfMemoryError("CUDA out of memory"), monkeypatch)
    assert report["out_of_memory"] is True and "last" not in report


@pytest.mark.parametrize(
    "words", ["CUDA error: an illegal memory access", "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"]
)
def test_any_other_error_of_cudas_is_the_processes_last_report(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    report = attempt(RuntimeError(words), monkeypatch)
    assert words in report["error"] and report["last"] is True


def test_freeing_memory_may_fail_too(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = RuntimeError("CUDA error: an illegal memory access")
    assert attempt(ValueError("odd"), monkeypatch, broken) | {"seconds": 0} == {
        **{"error": "ValueError: odd", "out_of_memory": False, "seconds": 0, "last": True},
    }
    assert attempt(None, monkeypatch, broken) == {"status": "safe", "last": True}


def test_only_finite_outputs_are_compared() -> None:
    found = EXPECTED.clone()
    found[[1, 3]] = 7.0
    subject._compare(found, EXPECTED, ALLOWED)
    subject._compare(found[[1, 3]], EXPECTED[[1, 3]], ALLOWED[[1, 3]])
    found[0] = 7.0
    with pytest.raises(ModelError, match="differs by"):
        subject._compare(found, EXPECTED, ALLOWED)


@pytest.mark.parametrize(
    ("row", "value", "difference"),
    [(0, 1.1, "1.00e-01"), (0, math.nan, "nan"), (2, math.inf, "inf"), (2, 3010.0, "1.00e")],
)
def test_another_function_is_refused(row: int, value: float, difference: str) -> None:
    found = EXPECTED.clone()
    found[row, 0] = value
    with pytest.raises(ModelError, match=f"differs by {difference}"):
        subject._compare(found, EXPECTED, ALLOWED)
