"""One run of some tests on a private copy of the checkout, and what its outcome means."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from mutants import PACKAGE, Mutant, mutated

ROOT = Path(__file__).resolve().parents[2]
COPIED = (PACKAGE, "tests", "model_defs", "exp_configs", "scripts", "setup.cfg", "pyproject.toml")
WORKER = Path(__file__).with_name("worker.py")
GENUINE = ("AssertionError", "assert ", "Failed: ")  # what a test says that found a wrong result

KILLED, SURVIVED, BROKEN, TIMED_OUT = "killed", "survived", "broken", "timed out"


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        kind: KILLED: a test failed because a result was wrong. SURVIVED: every test passed. BROKEN: the module
            does not import, a test could not be collected or set up, or the code crashed: no test judged a result.
            TIMED_OUT: the time limit came first.
        test: the test that failed first.
        detail: its message, or the end of the output.
    """

    kind: str
    test: str = ""
    detail: str = ""


@contextmanager
def private_copy(root: Path = ROOT) -> Iterator[Path]:
    """A copy of package, tests and settings in a temporary folder; the checkout itself is never touched."""
    with tempfile.TemporaryDirectory(prefix="mutation_") as folder:
        copy = Path(folder).resolve() / "checkout"
        copy.mkdir()
        for name in COPIED:
            source = root / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
            else:
                shutil.copy2(source, copy / name)
        yield copy


def run_mutant(mutant: Mutant, limit: float, root: Path = ROOT) -> Outcome:
    """The mutant's tests, until one fails, on a copy that has the bug; `limit` in seconds."""
    with private_copy(root) as copy:
        (copy / PACKAGE / mutant.file).write_text(mutated(mutant, root), encoding="utf-8")
        return run_tests(copy, mutant.module, ["-x", *mutant.tests], limit)


def run_tests(copy: Path, module: str, arguments: Sequence[str], limit: float | None = None) -> Outcome:
    """pytest in a copy, on one thread and with hypothesis's examples always the same."""
    report = copy.parent / "report.xml"
    report.unlink(missing_ok=True)
    options = ["-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", "--tb=short", f"--junitxml={report}"]
    command = [sys.executable, str(WORKER), str(copy), module, *options, *arguments]
    try:
        done = subprocess.run(
            command, cwd=copy, env=_environment(copy), timeout=limit, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired:
        return Outcome(TIMED_OUT, detail=f"after {limit:.0f} s")
    tail = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
    if done.returncode == 0:
        return Outcome(SURVIVED)
    return _judged(report, tail) if done.returncode == 1 and report.exists() else Outcome(BROKEN, detail=tail)


def _environment(copy: Path) -> dict[str, str]:
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    path = os.pathsep.join([str(copy), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, **one_thread, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def _judged(report: Path, tail: str) -> Outcome:
    """What the first failed or broken test of a report of pytest's says."""
    for case in ElementTree.parse(report).iter("testcase"):
        for trouble in case:
            if trouble.tag in ("failure", "error"):
                message = trouble.get("message") or ""
                genuine = trouble.tag == "failure" and message.startswith(GENUINE)
                return Outcome(KILLED if genuine else BROKEN, _test_name(case), message.partition("\n")[0])
    return Outcome(BROKEN, detail=tail)


def _test_name(case: ElementTree.Element) -> str:
    """`tests/search/test_bab.py::TestLimits::test_no_time`; junit says `tests.search.test_bab.TestLimits`."""
    parts = case.get("classname", "").split(".")
    module = next((k for k, part in enumerate(parts) if part.startswith("test_")), len(parts) - 1)
    return "::".join(["/".join(parts[: module + 1]) + ".py", *parts[module + 1 :], case.get("name", "")])
