"""What is exported, in the hands of other verifiers: the real α,β-CROWN, and one that VIBECHECK names as a program."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run_main

from abcrown_graft.cli import tools
from abcrown_graft.formats.vnnlib.instances import read_instances

# Read here because the tests themselves run without them (see tests/conftest.py).
HOMES = [os.environ.get(name) for name in ("ABCROWN_HOME", "AUTO_LIRPA_HOME")]
VIBECHECK = os.environ.get("VIBECHECK")
EXPECTED = {0: "unsat", 3: "sat", 6: "unsat"}
"""Digits, of which the native engine proves the first and the last; see `tests/pipeline/test_export.py`."""


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the grafted digits in plain ONNX."""
    folder = tmp_path_factory.mktemp("benchmark") / "digits"
    chosen = f"--select_instance {' '.join(map(str, EXPECTED))}"
    found = run_main(tools.main, *f"export --config digits_graft {chosen} --export_dir {folder}".split())
    assert (found.code, found.err) == (0, "")
    return folder


@pytest.mark.skipif(None in HOMES, reason="ABCROWN_HOME and AUTO_LIRPA_HOME name no checkouts")
def test_alpha_beta_crown_agrees(benchmark: Path, tmp_path: Path) -> None:
    """In matrix mode: its patches mode does not know element-wise products of two convolutions' neurons."""
    verifier = Path(str(HOMES[0])) / "complete_verifier"
    paths = {"root_path": str(benchmark), "csv_name": "instances.csv", "results_file": str(tmp_path / "out.txt")}
    config = {
        "general": {"device": "cpu", "conv_mode": "matrix", **paths},
        "solver": {"batch_size": 256},
        "bab": {"override_timeout": 60},
    }
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    command = [sys.executable, "abcrown.py", "--config", str(tmp_path / "config.yaml")]
    environment = os.environ | {"PYTHONPATH": str(HOMES[1]), "OMP_NUM_THREADS": "1"}
    found = subprocess.run(command, cwd=verifier, capture_output=True, text=True, env=environment)
    words = {"safe": "unsat", "unsafe": "sat"}
    statuses = re.findall(r"^Result: ([a-z]+)", found.stdout, re.MULTILINE)
    assert [words.get(status, status) for status in statuses] == list(EXPECTED.values()), found.stderr[-2000:]


@pytest.mark.skipif(not VIBECHECK, reason="VIBECHECK names no program of the package vibecheck-nn")
def test_vibecheck_agrees(benchmark: Path) -> None:
    verdicts = []
    for instance in read_instances(benchmark / "instances.csv"):
        words = ["verify", str(instance.vnnlib), "--network", f"f={instance.onnx}", "--timeout", "60"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        found = subprocess.run([str(VIBECHECK), *words], capture_output=True, text=True, env=environment)
        verdicts += found.stdout.splitlines()[:1]
    assert verdicts == list(EXPECTED.values())
