"""A run by α,β-CROWN: files, verdicts and dump are as the native engine's; nothing is believed unchecked."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_abcrown import FOUND, Answer, FakeProcess, leave, safe, told, unsafe

from abcrown_graft.config.config import Config
from abcrown_graft.config.experiments import find_config
from abcrown_graft.config.load import load_config
from abcrown_graft.engines.abcrown import run
from abcrown_graft.engines.abcrown.engine import prepare_abcrown
from abcrown_graft.engines.abcrown.job import INSTANCES, INSTANCES_KIND, Job, Task
from abcrown_graft.engines.abcrown.process import Ended
from abcrown_graft.engines.native.engine import prepare_native
from abcrown_graft.errors import ConfigError, EngineError, SettingsDifferError, UnsupportedError
from abcrown_graft.files import load_tensors
from abcrown_graft.formats.results import read_results
from abcrown_graft.masks import dump as dumps
from abcrown_graft.verdict import InstanceResult
from abcrown_graft.verify.problem import Subject
from abcrown_graft.verify.runner import Run

pytestmark = pytest.mark.usefixtures("one_thread")


def configured(folder: Path, **changed: Any) -> Config:
    values = {key.replace("__", "."): value for key, value in changed.items()}
    return load_config(
        find_config("digits_baseline"),
        {"specification.epsilon": 0.15, "data.end": 12, "general.results_file": str(folder / "out.txt"), **values},
    )


@pytest.fixture(scope="module")
def misclassified(tmp_path_factory: pytest.TempPathFactory) -> set[int]:
    """Of the first 400 digits."""
    cheap = {"attack__pgd_order": "skip", "solver__bound_prop_method": "ibp", "general__complete_verifier": "skip"}
    config = configured(tmp_path_factory.mktemp("clean"), data__end=400, specification__epsilon=0.0, **cheap)
    return {result.index for result in prepare_native(config).run() if result.predicted != result.label}


def prepared(folder: Path, **changed: Any) -> Run:
    return prepare_abcrown(configured(folder, **changed), FOUND)


def verified_by(
    monkeypatch: pytest.MonkeyPatch, answer: Answer, folder: Path, **changed: Any
) -> tuple[list[InstanceResult], FakeProcess]:
    process = FakeProcess(answer)
    monkeypatch.setattr(run, "follow", process)
    return list(prepared(folder, **changed).run()), process


def adversarial(job: Job, task: Task) -> torch.Tensor:
    """A counterexample within the box, found as the native attack finds it."""
    from abcrown_graft.assembly.inputs import model_source
    from abcrown_graft.models.load import load_model

    tensors = load_tensors(job.folder / INSTANCES, INSTANCES_KIND)[0]
    lower, upper, x = (tensors[name][task.row : task.row + 1] for name in ("lower", "upper", "images"))
    module, label = load_model(model_source(job.config)).core, int(tensors["labels"][task.row])
    for _ in range(40):
        x = x.detach().requires_grad_()
        output = module(x)[0]
        others = output.clone()
        others[label] = -math.inf
        (gradient,) = torch.autograd.grad(output[label] - others.max(), x)
        x = torch.minimum(torch.maximum(x - 0.03 * gradient.sign(), lower), upper)
    return x.detach().flatten()


def test_an_image_that_is_wrong_as_it_is_never_gets_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, misclassified: set[int]
) -> None:
    assert misclassified, "the digits' baseline misclassifies some"
    wrong = min(misclassified)
    chosen = [wrong, wrong + 1]
    results, process = verified_by(
        monkeypatch, lambda job, task: safe(), tmp_path, data__select_instance=chosen, attack__pgd_order="skip"
    )
    assert [(result.index, result.status) for result in results] == [
        (wrong, "unsafe-pgd"),
        (wrong + 1, "safe-incomplete"),
    ]
    assert process.jobs == [[wrong + 1]] and results[0].margin < 0


def test_results_are_those_of_the_native_engine_in_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = ["safe", "unknown", "safe-incomplete", "unknown", "safe-mip", "safe-incomplete (timed out)"]
    results, _ = verified_by(monkeypatch, lambda job, task: safe(None, statuses[task.index % 6]), tmp_path, data__end=6)
    assert [result.index for result in results] == list(range(6))
    assert [result.status for result in results] == statuses
    assert all(result.label == result.predicted and result.seconds >= 1 for result in results)
    header, found, complete = read_results(tmp_path / "out.txt")
    assert found == results and complete
    assert header["run"]["engine"] == "abcrown" and header["run"]["versions"] == ["0.7.0", "0.7.1"]
    assert header["run"]["settings"]["specification.epsilon"] == 0.15


def test_only_images_that_are_left_go_to_a_resumed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "follow", FakeProcess(lambda job, task: safe()))
    first = prepared(tmp_path, data__end=6)
    results = first.run()
    begun = [next(results), next(results)]
    results.close()
    process = FakeProcess(lambda job, task: safe(0.75))
    monkeypatch.setattr(run, "follow", process)
    again = prepared(tmp_path, data__end=6)
    rest = list(again.run())
    assert again.results.kept is None and list(again.results.done) == [0, 1]
    assert process.jobs == [[2, 3, 4, 5]] and [result.index for result in rest] == [2, 3, 4, 5]
    assert read_results(tmp_path / "out.txt")[1:] == ([*begun, *rest], True)


@pytest.mark.parametrize(
    "changed",
    [{"specification__epsilon": 0.1}, {"solver__batch_size": 3}, {"bab__tree_traversal": "breadth_first"}],
    ids=str,
)
def test_another_run_keeps_the_results_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]
) -> None:
    monkeypatch.setattr(run, "follow", FakeProcess(lambda job, task: safe()))
    next(prepared(tmp_path, data__end=2).run())
    assert prepared(tmp_path, data__end=2, **changed).results.kept == tmp_path / "out.1.txt"


def test_results_of_the_native_engine_are_not_gone_on_with(tmp_path: Path) -> None:
    prepare_native(configured(tmp_path))
    assert prepared(tmp_path).results.kept == tmp_path / "out.1.txt"


def test_a_counterexample_is_confirmed_on_the_original_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(job, task):
        leave(job, task, {"counterexample": adversarial(job, task)})
        return unsafe("unsafe-bab")

    (result,), _ = verified_by(monkeypatch, answer, tmp_path, data__end=1, general__save_adv_example=True,
                               specification__epsilon=0.4, attack__cex_path=str(tmp_path / "cex.txt"))  # fmt: skip
    assert (str(result.verdict), result.status) == ("falsified", "unsafe-bab") and result.margin <= 0
    lines = (tmp_path / "cex_0.txt").read_text().splitlines()
    assert len(lines) == 64 + 10 and lines[0].startswith("((X_0  ")
    assert read_results(tmp_path / "out.txt")[0]["counterexamples"] == "cex.txt"


@pytest.mark.parametrize("what", ("nothing", "the image", "too few pixels", "NaN", "far away"))
def test_what_is_no_counterexample_falsifies_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def answer(job, task):
        image = load_tensors(job.folder / INSTANCES, INSTANCES_KIND)[0]["images"][task.row].flatten()
        points = {
            "the image": image,
            "too few pixels": image[:9],
            "NaN": torch.full_like(image, math.nan),
            "far away": image + 7,  # moved into the box, its corner does not fool the model
        }
        if what != "nothing":
            leave(job, task, {"counterexample": points[what]})
        return unsafe()

    (result,), _ = verified_by(monkeypatch, answer, tmp_path, data__end=1, specification__epsilon=0.001)
    assert (str(result.verdict), result.status) == ("error", "error")
    assert result.reason.startswith("α,β-CROWN says 'unsafe-pgd'") and "counterexample" in result.reason


def test_a_bound_that_is_no_number_verifies_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, _ = verified_by(monkeypatch, lambda job, task: safe(math.nan, "safe"), tmp_path, data__end=2)
    assert {str(result.verdict) for result in results} == {"error"}
    assert results[0].reason == "α,β-CROWN says 'safe' with a lower bound of nan"


def test_an_image_that_kills_the_process_is_out_of_memory_and_the_others_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = Ended(-signal.SIGKILL, "BaB round 9")
    results, process = verified_by(
        monkeypatch, lambda job, task: killed if task.index == 1 else safe(), tmp_path, data__end=4
    )
    assert [str(result.verdict) for result in results] == ["verified", "out-of-memory", "verified", "verified"]
    assert process.jobs == [[0, 1, 2, 3], [2, 3]] and "BaB round 9" in results[1].reason


def test_an_exception_there_is_an_error_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = {"error": "AssertionError: no message", "out_of_memory": False, "seconds": 2.0}
    (result,), _ = verified_by(monkeypatch, lambda job, task: report, tmp_path, data__end=1)
    assert (str(result.verdict), result.status, result.reason) == ("error", "error", "AssertionError: no message")
    assert told(tmp_path / "out.txt")[1]["verdict"] == "error"


def test_a_process_that_does_not_start_leaves_the_images_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "follow", FakeProcess(lambda job, task: safe(), Ended(1, "ImportError: x"), ready=False))
    with pytest.raises(EngineError, match=r"did not start: .*ImportError: x; its output is in .*out\.txt\.log"):
        list(prepared(tmp_path).run())
    assert len(told(tmp_path / "out.txt")) == 1
    assert not (tmp_path / "out.txt.lock").exists()


def count(job: Job, task: Task) -> dict[str, Any]:
    """Answers `unknown`, with the first neuron of each site unstable, and every neuron for image 5."""
    from abcrown_graft.assembly.inputs import model_source
    from abcrown_graft.models.load import load_model

    sites = load_model(model_source(job.config)).identity.sites
    flags = {}
    for site, shape in sites.items():
        flags[f"unstable/{site}"] = torch.full((math.prod(shape),), task.index == 5)
        flags[f"unstable/{site}"][0] = True
    if task.count:
        leave(job, task, flags)
    return safe(-1.0, "unknown")


def test_instability_is_the_native_engines_dump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d.st"
    verified_by(monkeypatch, count, tmp_path, instability__dump=str(path), data__end=6)
    dump, native = (
        dumps.load(path),
        prepare_native(configured(tmp_path, instability__dump=str(tmp_path / "n.st"))),
    )
    assert dump.indices.tolist() == list(range(6))
    assert dump.settings == native.recorder.dump.settings and dump.model == native.recorder.dump.model
    assert {int(values.flatten()[0]) for values in dump.counts.values()} == {6}
    assert {int(values.flatten()[1]) for values in dump.counts.values()} == {1}


def test_images_that_are_counted_are_not_counted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, asked = tmp_path / "d.st", []

    def answer(job, task):
        asked.append((task.index, task.count))
        return count(job, task)

    verified_by(monkeypatch, count, tmp_path, instability__dump=str(path), data__end=3)
    verified_by(monkeypatch, answer, tmp_path, instability__dump=str(path), data__end=5)
    assert asked == [(0, False), (1, False), (2, False), (3, True), (4, True)]
    assert dumps.load(path).indices.tolist() == list(range(5))


def test_the_population_says_which_images_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, misclassified: set[int]
) -> None:
    wrong = min(misclassified)
    asked: list[Task] = []

    def answer(job, task):
        asked.append(task)
        if task.only_open and task.index == wrong + 1:
            return safe()
        return count(job, task)

    for population, expected in (
        ("all", [wrong, wrong + 1, wrong + 2]),
        ("correct", [wrong + 1, wrong + 2]),
        ("bab", [wrong + 2]),
    ):
        path = tmp_path / f"{population}.st"
        asked.clear()
        verified_by(monkeypatch, answer, tmp_path, instability__dump=str(path), instability__population=population,
                    data__select_instance=[wrong, wrong + 1, wrong + 2])  # fmt: skip
        assert dumps.load(path).indices.tolist() == expected, population
        verify = {task.index: task.verify for task in asked}
        assert verify == ({wrong: False} if population == "all" else {}) | {wrong + 1: True, wrong + 2: True}


def test_instability_that_does_not_fit_leaves_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(job, task):
        leave(job, task, {"unstable/1": torch.ones(3, dtype=torch.bool)})
        return safe()

    (result,), _ = verified_by(monkeypatch, answer, tmp_path, data__end=1, instability__dump=str(tmp_path / "d.st"))
    assert str(result.verdict) == "verified" and result.reason.startswith("its instability could not be counted: ")
    assert result.seconds >= 1
    assert caplog.messages == [f"image 0: {result.reason}"]


def test_a_failure_to_count_leaves_what_was_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, misclassified: set[int]
) -> None:
    wrong = min(misclassified)
    report = {"error": "OutOfMemoryError: x", "out_of_memory": True, "seconds": 7.0}
    chosen = {"data__select_instance": [wrong], "instability__population": "all"}
    dumped = {"instability__dump": str(tmp_path / "d.st")}
    (result,), process = verified_by(monkeypatch, lambda job, task: report, tmp_path, **chosen, **dumped)
    assert process.jobs == [[wrong]]
    assert (str(result.verdict), result.status) == ("falsified", "unsafe-pgd") and result.seconds >= 7
    assert result.reason == "its instability could not be counted: out of memory: OutOfMemoryError: x"
    assert dumps.load(tmp_path / "d.st").n == 0


def failing(monkeypatch: pytest.MonkeyPatch, fails: Callable[[torch.Tensor], Exception | None]) -> list[int]:
    """Has the original model fail where `fails` says so; returns the sizes of what it is given, as they come."""
    prepare, sizes = Subject.prepare.__func__, []

    class Failing(torch.nn.Module):
        def __init__(self, model: torch.nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sizes.append(len(x))
            error = fails(x)
            if error is not None:
                raise error
            return self.model(x)

    def prepared_to_fail(cls, module, *rest):
        return prepare(cls, Failing(module), *rest)

    monkeypatch.setattr(Subject, "prepare", classmethod(prepared_to_fail))
    return sizes


def test_images_are_predicted_by_the_batch_size_or_less_where_memory_runs_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = failing(monkeypatch, lambda x: torch.OutOfMemoryError("x") if len(x) > 2 else None)
    results, _ = verified_by(monkeypatch, lambda job, task: safe(), tmp_path, data__end=6, solver__batch_size=4)
    assert sizes == [4, 2, 2, 2]
    assert [str(result.verdict) for result in results] == ["verified"] * 6


@pytest.mark.parametrize(
    ("error", "verdict"), [(ValueError("odd image"), "error"), (torch.OutOfMemoryError("x"), "out-of-memory")]
)
def test_an_image_that_the_model_fails_on_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, verdict: str
) -> None:
    odd = prepared(tmp_path).instances.data.images[2]
    failing(monkeypatch, lambda x: error if any(torch.equal(image, odd) for image in x) else None)
    results, process = verified_by(monkeypatch, lambda job, task: safe(), tmp_path, data__end=4)
    assert [str(result.verdict) for result in results] == ["verified", "verified", verdict, "verified"]
    assert results[2].reason.endswith(str(error)) and results[2].predicted == -1
    assert process.jobs == [[0, 1, 3]]


def test_a_model_that_always_fails_starts_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, lambda x: ValueError("never"))
    results, process = verified_by(monkeypatch, lambda job, task: safe(), tmp_path, data__end=3)
    assert {(str(result.verdict), result.reason) for result in results} == {("error", "ValueError: never")}
    assert process.jobs == []


def test_a_counterexample_that_cannot_be_checked_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def fails(x):
        calls.append(len(x))
        return torch.OutOfMemoryError("x") if len(calls) > 1 else None

    def answer(job, task):
        images = load_tensors(job.folder / INSTANCES, INSTANCES_KIND)[0]["images"]
        leave(job, task, {"counterexample": images[task.row]})
        return unsafe()

    failing(monkeypatch, fails)
    (result,), _ = verified_by(monkeypatch, answer, tmp_path, data__end=1)
    assert str(result.verdict) == "out-of-memory" and "could not be checked: OutOfMemoryError" in result.reason


def test_a_dump_of_other_settings_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "d.st")
    verified_by(monkeypatch, count, tmp_path, instability__dump=path, data__end=1)
    with pytest.raises(SettingsDifferError, match="made with method = 'crown', this run has 'alpha-crown'"):
        prepared(tmp_path, instability__dump=path, instability__method="alpha-crown")


def test_no_image_of_the_population_leaves_an_empty_dump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d.st"
    chosen = {"instability__dump": str(path), "instability__population": "bab"}
    verified_by(monkeypatch, lambda job, task: safe(), tmp_path, data__end=2, **chosen)
    assert dumps.load(path).n == 0


def test_grafted_networks_are_guarded_when_they_are_loaded(tmp_path: Path) -> None:
    values = {"bab.cut.enabled": True, "general.results_file": str(tmp_path / "out.txt")}
    with pytest.raises(UnsupportedError, match="cuts know ReLU only, not grafted neurons"):
        prepare_abcrown(load_config(find_config("digits_graft"), values), FOUND)
    prepared(tmp_path, bab__cut__enabled=True)


def test_the_log_lies_beside_the_results_unless_it_is_named(tmp_path: Path) -> None:
    assert prepared(tmp_path).engine.log == tmp_path / "out.txt.log"
    assert (
        prepared(tmp_path, general__abcrown_log=str(tmp_path / "logs" / "a.log")).engine.log
        == tmp_path / "logs" / "a.log"
    )
    with pytest.raises(ConfigError, match=r"general\.abcrown_log: .*out\.txt is another file's name"):
        prepared(tmp_path, general__abcrown_log=str(tmp_path / "out.txt"))


def test_the_engine_is_named_with_its_versions(tmp_path: Path) -> None:
    words = prepared(tmp_path, general__double_fp=True).engine.name
    assert words == f"abcrown (α,β-CROWN 0.7.0, auto_LiRPA 0.7.1, cpu, float64; its output: {tmp_path / 'out.txt.log'})"
