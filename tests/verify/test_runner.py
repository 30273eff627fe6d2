"""The run: what engine and instances say goes to the files, whoever they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from image_cases import cases_at

from abcrown_graft.errors import EngineError
from abcrown_graft.formats.results import ResultsFile, read_results
from abcrown_graft.formats.vnncomp import VnncompFile
from abcrown_graft.verdict import InstanceResult, Verdict
from abcrown_graft.verify.batches import OnCounterexample
from abcrown_graft.verify.case import Case
from abcrown_graft.verify.problem import Subject
from abcrown_graft.verify.runner import Group, Run, original_output

LOST = 2  # the instance that no case can be made of


class Images:
    """Six images of two pixels; the one of number 2 cannot be read."""

    noun, single = "image", False

    def __init__(self, subject: Subject, indices: Sequence[int] = range(6)) -> None:
        self.subject, self.indices = subject, list(indices)

    def groups(self, todo: Sequence[int], size: int) -> Iterator[Group | InstanceResult]:
        for begin in range(0, len(todo), size):
            cases: list[Case] = []
            for index in todo[begin : begin + size]:
                point = torch.tensor([[0.5, 0.1 * index]])
                if index == LOST:
                    yield InstanceResult(index, 0, -1, Verdict.ERROR, "error", 0.0, reason="cannot be read")
                else:
                    cases += cases_at(self.subject, point, torch.tensor([0]), [index])
            yield Group(self.subject, cases)


class Odd:
    """Verifies what has an even number; an odd one is falsified by its clean input."""

    name, group_size = "odd", 4

    def __init__(self, fails_at: int | None = None) -> None:
        self.given: list[list[int]] = []
        self.fails_at = fails_at

    def decide(self, group: Group, on_counterexample: OnCounterexample | None) -> Iterator[InstanceResult]:
        self.given.append([case.index for case in group.cases])
        for case in group.cases:
            if case.index == self.fails_at:
                raise EngineError("it is gone")
            if case.index % 2 and on_counterexample is not None:
                on_counterexample(case.index, case.clean)
            verdict = Verdict.FALSIFIED if case.index % 2 else Verdict.VERIFIED
            yield case.result(verdict, "said", 0.5)


def run_of(subject: Subject, folder: Path, engine: Odd, points: Path | None = None) -> Run:
    return Run(Images(subject), engine, ResultsFile(folder / "out.txt", {"engine": "odd"}), None, points)


def test_results_are_written_as_they_come_and_the_run_is_marked_complete(compare, tmp_path: Path) -> None:
    engine = Odd()
    run = run_of(compare, tmp_path, engine)
    for count, result in enumerate(run.run(), start=1):
        _, written, complete = read_results(tmp_path / "out.txt")
        assert len(written) == count and written[-1] == result and not complete
    _, written, complete = read_results(tmp_path / "out.txt")
    assert complete and engine.given == [[0, 1, 3], [4, 5]]
    assert [(r.index, str(r.verdict)) for r in written] == [
        *((2, "error"), (0, "verified"), (1, "falsified"), (3, "falsified"), (4, "verified"), (5, "falsified"))
    ]


def test_what_is_done_is_not_given_to_the_engine_again(compare, tmp_path: Path) -> None:
    broken = run_of(compare, tmp_path, Odd(fails_at=3))
    with pytest.raises(EngineError, match="it is gone"):
        list(broken.run())
    engine, seen = Odd(), []
    again = run_of(compare, tmp_path, engine)
    assert again.todo == [3, 4, 5]
    results = again.all_results(seen.append)
    assert engine.given == [[3, 4, 5]] and [result.index for result in seen] == [3, 4, 5]
    assert [result.index for result in results] == again.indices == list(range(6)), "in the order of the instances"


def test_counterexamples_are_saved_with_the_original_model_s_output(compare, tmp_path: Path) -> None:
    run = run_of(compare, tmp_path, Odd(), tmp_path / "cex.txt")
    for result in run.run():
        assert (tmp_path / f"cex_{result.index}.txt").exists() == (result.verdict is Verdict.FALSIFIED)
    assert (tmp_path / "cex_3.txt").read_text() == "((X_0  0.5)\n(X_1  0.300000012)\n(Y_0  0.5)\n(Y_1  0.300000012))\n"


def test_they_are_not_saved_unless_that_is_asked_for(compare, tmp_path: Path) -> None:
    list(run_of(compare, tmp_path, Odd()).run())
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_a_single_instance_has_its_counterexample_in_its_results_file(compare, tmp_path: Path) -> None:
    results, points = VnncompFile(tmp_path / "out.txt"), tmp_path / "cex.txt"
    list(Run(Images(compare, [3]), Odd(), results, None, points).run())
    assert (tmp_path / "out.txt").read_text() == f"sat\n{points.read_text()}"


def test_the_output_is_that_of_the_original_model_in_the_precision_of_the_point(compare) -> None:
    double = Subject(compare.module, compare.network, compare.exact)
    output = original_output(double, torch.tensor([0.25, 0.5]))
    assert output.dtype == torch.float32 and output.tolist() == [0.25, 0.5]
