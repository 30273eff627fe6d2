"""The competition's three scripts: what they run, and that they leave everything else alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import snapshot
from torch import nn

from abcrown_graft.formats.onnx.export import export_onnx
from abcrown_graft.network.trace import from_module

FOLDER = Path(__file__).parents[2] / "scripts" / "vnncomp"
SCRIPTS = {"install_tool.sh": 1, "prepare_instance.sh": 4, "run_instance.sh": 6}
"""Their numbers of words."""
RECORD = '#!/bin/sh\nprintf "%s\\n" "$@" > "$(dirname "$0")/$(basename "$0").words"\n'


def run(script: str, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    found = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run([FOLDER / script, *words], capture_output=True, text=True, env=found)


def fake(folder: Path, *programs: str) -> Path:
    """A folder of programs that only note their words."""
    (folder / "bin").mkdir(parents=True)
    for program in programs:
        path = folder / "bin" / program
        path.write_text(RECORD)
        path.chmod(0o755)
    return folder


def noted(folder: Path, program: str) -> list[str]:
    return (folder / "bin" / f"{program}.words").read_text().splitlines()


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_can_be_run_and_ends_no_process(script: str) -> None:
    text = (FOLDER / script).read_text()
    assert os.access(FOLDER / script, os.X_OK)
    assert text.startswith("#!/usr/bin/env bash\n") and "set -euo pipefail" in text
    assert not re.search(r"\b(kill|pkill|killall|sudo|rm|apt|apt-get|conda)\b", text)


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("version", ("v1", "v2"))
def test_wrong_words_run_nothing(script: str, version: str, tmp_path: Path) -> None:
    venv = fake(tmp_path / "venv", "abcrown", "python", "pip")
    count = SCRIPTS[script] + (1 if version == "v1" else 0)
    found = run(script, *[version, *["x"] * (count - 1)], ABCROWN_GRAFT_VENV=str(venv), PYTHON="false")
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith(f"usage: {script} v1")
    assert not list(venv.glob("bin/*.words"))


@pytest.mark.parametrize("device", ("cpu", "cuda"))
def test_an_instance_is_run_by_abcrown(device: str, tmp_path: Path) -> None:
    venv = fake(tmp_path / "a venv", "abcrown")
    words = ("v1", "acasxu", "a net.onnx", "p.vnnlib", "results.txt", "116")
    found = run("run_instance.sh", *words, ABCROWN_GRAFT_VENV=str(venv), ABCROWN_GRAFT_DEVICE=device)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    assert noted(venv, "abcrown") == [
        *("--engine", "native", "--device", device, "--onnx_path", "a net.onnx", "--vnnlib_path", "p.vnnlib"),
        *("--results_file", "results.txt", "--override_timeout", "116"),
        *("--save_adv_example", "--cex_path", "results.txt.counterexample"),
    ]


def test_without_a_gpu_the_device_is_the_cpu(tmp_path: Path) -> None:
    venv = fake(tmp_path / "venv", "abcrown")
    broken = fake(tmp_path / "driver")
    (broken / "bin" / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    (broken / "bin" / "nvidia-smi").chmod(0o755)
    path = f"{broken / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {"ABCROWN_GRAFT_VENV": str(venv), "ABCROWN_GRAFT_DEVICE": "", "PATH": path}
    assert run("run_instance.sh", "v1", "c", "n", "p", "r", "9", **environment).returncode == 0
    assert noted(venv, "abcrown")[2:4] == ["--device", "cpu"]


def test_a_failure_of_the_verifier_is_one_of_the_script(tmp_path: Path) -> None:
    venv = fake(tmp_path / "venv", "abcrown")
    (venv / "bin" / "abcrown").write_text("#!/bin/sh\nexit 7\n")
    assert run("run_instance.sh", "v1", "c", "n", "p", "r", "9", ABCROWN_GRAFT_VENV=str(venv)).returncode == 7


def test_installation_stays_in_its_folder(tmp_path: Path) -> None:
    venv, python = fake(tmp_path / "venv", "pip", "abcrown"), fake(tmp_path / "system", "python3")
    chosen = {"ABCROWN_GRAFT_VENV": str(venv), "PYTHON": str(python / "bin" / "python3")}
    assert run("install_tool.sh", "v1", **chosen).returncode == 0
    root = str(FOLDER.parents[1])
    assert noted(python, "python3") == ["-m", "venv", str(venv)]
    assert noted(venv, "pip")[:4] == ["install", "--constraint", f"{root}/constraints.txt", root]
    assert noted(venv, "abcrown") == ["--version"]


class TestPreparation:
    HEAD = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 0.0))(assert (<= X_0 1.0))"

    @pytest.fixture
    def instance(self, tmp_path: Path) -> tuple[Path, Path]:
        """A network and a property of it."""
        export_onnx(from_module(nn.Sequential(nn.Linear(1, 1), nn.ReLU()), (1,)), tmp_path / "n.onnx")
        (tmp_path / "p.vnnlib").write_text(self.HEAD + "(assert (>= Y_0 2.0))")
        return tmp_path / "n.onnx", tmp_path / "p.vnnlib"

    @staticmethod
    def prepare(instance: tuple[Path, Path]) -> subprocess.CompletedProcess[str]:
        return run("prepare_instance.sh", "v1", "c", *instance, ABCROWN_GRAFT_VENV=sys.prefix)

    def test_reads_and_writes_nothing(self, instance: tuple[Path, Path]) -> None:
        before = snapshot(instance[0].parent)
        found = self.prepare(instance)
        assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
        assert snapshot(instance[0].parent) == before

    def test_an_instance_that_cannot_be_read_is_refused(self, instance: tuple[Path, Path]) -> None:
        instance[1].write_text("(declare-const X_1 Real)" + self.HEAD + "(assert (>= Y_0 2.0))")
        found = self.prepare(instance)
        assert found.returncode == 2
        assert found.stderr.endswith("p.vnnlib: 2 elements of X are declared, the network has 1\n")
