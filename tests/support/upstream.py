"""The real auto_LiRPA and α,β-CROWN in tests: where ABCROWN_HOME and AUTO_LIRPA_HOME name checkouts of them."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DRIVER = Path(__file__).parents[2] / "scripts" / "benchmark" / "plugin_driver.py"
# Read here because the tests themselves run without them (see tests/conftest.py).
HOMES = {name: os.environ.get(name) for name in ("ABCROWN_HOME", "AUTO_LIRPA_HOME")}
_HIDDEN: dict[str, ModuleType] = {}
_OURS = ("abcrown_graft", "auto_LiRPA", "arguments", "beta_CROWN_solver")


def homes() -> tuple[Path, Path]:
    """The folders of α,β-CROWN's `complete_verifier` and of auto_LiRPA; skips the test module if they are not set."""
    abcrown, auto_lirpa = HOMES.values()
    if not abcrown or not auto_lirpa:
        pytest.skip("ABCROWN_HOME and AUTO_LIRPA_HOME name no checkouts", allow_module_level=True)
    return Path(abcrown) / "complete_verifier", Path(auto_lirpa)


@contextmanager
def visible() -> Iterator[None]:
    """Both checkouts, if set, can be imported from; afterwards no other test finds them, or what was imported."""
    folders = [str(folder) for folder in reversed(homes())] if all(HOMES.values()) else []
    sys.path += folders
    sys.modules.update(_HIDDEN)
    try:
        yield
    finally:
        sys.path[:] = [entry for entry in sys.path if entry not in folders]
        theirs = tuple(folder + os.sep for folder in folders)
        _HIDDEN.update({n: m for n, m in sys.modules.items() if (getattr(m, "__file__", "") or "").startswith(theirs)})
        for name in _HIDDEN:
            sys.modules.pop(name, None)


def imported(name: str) -> ModuleType:
    """A module that needs auto_LiRPA or α,β-CROWN, or a skip of the test module that says what is missing."""
    homes()
    with visible(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if str(error.name).partition(".")[0] in _OURS:
                raise
            pytest.skip(f"{name} needs {error.name}, which α,β-CROWN lists", allow_module_level=True)


def environment(**more: str) -> dict[str, str]:
    """Of a process that can import auto_LiRPA, α,β-CROWN and what lies beside this file."""
    path = os.pathsep.join(map(str, (*reversed(homes()), Path(__file__).parent)))
    return os.environ | {"PYTHONPATH": path, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"} | more


def run_abcrown(folder: Path, *configs: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """Runs α,β-CROWN in a process of its own and gives what `plugin_driver` noted of each configuration's instances.

    Args:
        folder: receives the files; also the working directory.
        configs: sections and keys as in α,β-CROWN's YAML files, one after the other.
    """
    words: list[str] = [sys.executable, str(DRIVER)]
    for number, config in enumerate(configs):
        general = {"device": "cpu", "results_file": str(folder / f"{number}.results"), **config["general"]}
        file = folder / f"{number}.yaml"
        file.write_text(json.dumps({**config, "general": general}), encoding="utf-8")
        words += [str(file), str(file.with_suffix(".jsonl"))]
    process = subprocess.run(words, capture_output=True, text=True, env=environment(), cwd=folder)
    assert process.returncode == 0, (process.stdout + process.stderr)[-3000:]
    notes = [(folder / f"{number}.jsonl").read_text(encoding="utf-8") for number in range(len(configs))]
    return [[json.loads(line) for line in text.splitlines()] for text in notes]
