"""The page about the options is generated, whole and current."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from abcrown_graft.config import SCHEMA
from abcrown_graft.config.document import document_options


def test_every_option_has_one_row() -> None:
    assert re.findall(r"^\| `([^`]+)` \|", document_options(), re.MULTILINE) == list(SCHEMA)


def test_a_row() -> None:
    assert (
        "| `solver.mip.mip_solver` | `--mip_solver` | `gurobi` | native, abcrown | Solver of mixed-integer programs; "
        "HiGHS steps in where Gurobi has no licence for the size. One of `gurobi`, `scip`, `highs`. "
        "Native: `gurobi`, `highs`. α,β-CROWN: `gurobi`, `scip`, `highs`. |"
    ) in document_options().splitlines()


def test_every_row_has_five_cells() -> None:
    rows = [line for line in document_options().splitlines() if line.startswith("| `")]
    assert {len(re.split(r"(?<!\\)\|", row)) for row in rows} == {7}


def test_the_committed_page_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "options.md"
    if not page.is_file():
        pytest.skip("docs/options.md is not part of this installation")
    written = subprocess.run([sys.executable, "-m", "abcrown_graft.config"], check=True, capture_output=True).stdout
    assert page.read_bytes() == written, "run: python -m abcrown_graft.config > docs/options.md"
