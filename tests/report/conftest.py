"""A finished run of two pixels, see `support/report_runs.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_runs import RunWriter, finished_run


@pytest.fixture
def run(tmp_path: Path) -> RunWriter:
    return finished_run(tmp_path / "pixels")
