"""`abcrown --csv_name` over VNN-COMP's benchmarks: no verdict contradicts the agreed ones, counterexamples are ones.

By default quick instances. `VNNCOMP=mnistfc_2021,oval21_2021` runs all rows of those benchmarks instead, and
`VNNCOMP_SECONDS` is each row's time limit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
from command_line import Finished, run_main
from vnncomp import Instance, Outcome, counterexample_faults, read_instances

from abcrown_graft.cli.abcrown import main
from abcrown_graft.formats.counterexample import read_counterexample
from abcrown_graft.formats.results import read_results
from abcrown_graft.verdict import InstanceResult, Verdict

BENCHMARKS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "benchmarks"
pytestmark = [
    pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the benchmarks are not at ../shared"),
    pytest.mark.usefixtures("one_thread"),
]
QUICK: dict[str, Sequence[int]] = {"test": (0, 1, 2, 3, 4), "mnistfc_2021": (0, 7, 42, 47)}
"""Rows by benchmark; the engine decides all of them in a few seconds."""
WHOLE = [name for name in os.environ.get("VNNCOMP", "").split(",") if name]
SECONDS = os.environ.get("VNNCOMP_SECONDS", "30")
CHOSEN = {name: range(len(read_instances(BENCHMARKS / name))) for name in WHOLE} if WHOLE else QUICK
WORDS = {Verdict.VERIFIED: "unsat", Verdict.FALSIFIED: "sat"}


@dataclass(frozen=True)
class Run:
    """A finished command over some rows of a benchmark, in `folder`."""

    finished: Finished
    instances: list[Instance]
    results: list[InstanceResult]
    folder: Path


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Runs a benchmark's rows, once."""

    def run(name: str) -> Run:
        folder, rows = tmp_path_factory.mktemp(name), [str(row) for row in CHOSEN[name]]
        finished = run_main(
            main,
            *("--device", "cpu", "--root_path", BENCHMARKS / name, "--csv_name", "instances.csv"),
            *("--select_instance", *rows, "--override_timeout", SECONDS, "--save_adv_example"),
            *("--results_file", folder / "out.txt", "--cex_path", folder / "cex.txt"),
        )
        _, results, complete = read_results(folder / "out.txt")
        assert complete
        return Run(finished, read_instances(BENCHMARKS / name), results, folder)

    return cache(run)


@pytest.mark.parametrize("name", CHOSEN)
class TestCommand:
    def test_every_row_has_a_verdict(self, run_of, name: str) -> None:
        run = run_of(name)
        assert (run.finished.code, run.finished.err) == (0, "")
        assert sorted(result.index for result in run.results) == list(CHOSEN[name])
        assert f"Problem instances count: {len(run.results)} ," in run.finished.out

    def test_no_verdict_is_the_opposite_of_the_agreed_one(self, run_of, name: str) -> None:
        run = run_of(name)
        assert not [r.index for r in run.results if Outcome(run.instances[r.index], r, None).contradicts]

    @pytest.mark.skipif(bool(WHOLE), reason="some rows of whole benchmarks are too hard")
    def test_the_quick_ones_are_decided(self, run_of, name: str) -> None:
        run = run_of(name)
        found = {result.index: WORDS.get(result.verdict) for result in run.results}
        assert found == {row: run.instances[row].expected for row in CHOSEN[name]}

    def test_counterexamples_are_ones(self, run_of, name: str) -> None:
        run = run_of(name)
        falsified = [result for result in run.results if result.verdict is Verdict.FALSIFIED]
        assert falsified or WHOLE
        for result in falsified:
            instance = run.instances[result.index]
            inputs, _ = read_counterexample(run.folder / f"cex_{result.index}.txt")
            outcome = Outcome(instance, result, inputs.float().double().numpy())
            assert counterexample_faults(outcome) == []
            assert counterexample_faults(replace(outcome, counterexample=outcome.counterexample + 10)) != []
