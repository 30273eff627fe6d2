"""What the process that runs α,β-CROWN writes, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from abcrown_graft.engines.abcrown import child
from abcrown_graft.engines.abcrown.job import LAST

READY = {"ready": True}


def ended(folder: Path, monkeypatch: pytest.MonkeyPatch, *reports: Any) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and reports of a process with these to make; an exception among them is raised."""

    def made(job: Any) -> Iterator[dict[str, Any]]:
        for report in reports:
            if isinstance(report, Exception):
                raise report
            yield report

    job = SimpleNamespace(reports=folder / "reports.jsonl")
    job.reports.touch()
    monkeypatch.setattr(child, "_end_with_parent", lambda folder: None)
    monkeypatch.setattr(child, "read_job", lambda folder: job)
    monkeypatch.setattr(child, "_reports", made)
    code = child.main(str(folder))
    return code, [json.loads(line) for line in job.reports.read_text().splitlines()]


def test_every_report_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended(tmp_path, monkeypatch, READY, {"index": 1}) == (0, [READY, {"index": 1}])


def test_nothing_follows_a_last_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last = {"index": 1, "error": "RuntimeError: CUDA error", LAST: True}
    assert ended(tmp_path, monkeypatch, READY, last, {"index": 2}) == (1, [READY, last])


def test_an_exception_is_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, reports = ended(tmp_path, monkeypatch, READY, OSError("no space left"))
    assert (code, reports) == (1, [READY, {"failed": "OSError: no space left"}])
