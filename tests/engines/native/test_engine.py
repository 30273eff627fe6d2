"""A verification run: what is loaded and written, and that an interrupted one goes on as if it had not been."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from decisions import up_to, with_decisions

from abcrown_graft.config.config import Config
from abcrown_graft.config.experiments import find_config
from abcrown_graft.config.load import load_config
from abcrown_graft.engines.native.engine import prepare_native
from abcrown_graft.errors import ConfigError, FileFormatError, SettingsDifferError
from abcrown_graft.formats.results import read_results
from abcrown_graft.masks import dump as dumps
from abcrown_graft.verdict import InstanceResult, Verdict
from abcrown_graft.verify.summary import summary_lines

FLAGS = {
    "specification.epsilon": 0.15,
    "general.complete_verifier": "skip",
    "solver.bound_prop_method": "crown",
    "data.end": 8,
    "solver.batch_size": 3,
    "attack.pgd_steps": 5,
    "attack.pgd_restarts": 2,
}


def configured(folder: Path, name: str = "digits_graft", **changed: object) -> Config:
    """Eight digits, results and instability under `folder`."""
    files = {"general.results_file": str(folder / "out.txt"), "instability.dump": str(folder / "unstable.st")}
    values = {key.replace("__", "."): value for key, value in changed.items()}
    return load_config(find_config(name), {**FLAGS, **files, **values})


def facts(results: list[InstanceResult]) -> list[InstanceResult]:
    """Everything about the results but the time, and the bounds up to rounding."""

    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 4)

    return [replace(r, seconds=0.0, lower_bound=rounded(r.lower_bound), margin=rounded(r.margin)) for r in results]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[InstanceResult]]:
    """A folder with an uninterrupted run, and its results."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, list(prepare_native(configured(folder)).run())


def test_preparing_writes_only_the_head_of_the_results(tmp_path: Path) -> None:
    run = prepare_native(configured(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]
    head, results, complete = read_results(tmp_path / "out.txt")
    assert (results, complete) == ([], False)
    assert run.todo == run.indices == list(range(8))
    assert head["run"]["settings"]["epsilon"] == 0.15
    assert (head["run"]["model"], head["run"]["dataset"], head["run"]["split"]) == ("digits_cnn", "DIGITS", "test")
    assert head["run"]["weights"] == run.instances.model.identity.weights


def test_every_result_is_in_the_file_when_it_is_yielded(tmp_path: Path) -> None:
    run = prepare_native(configured(tmp_path, data__end=4))
    for count, result in enumerate(run.run(), start=1):
        _, written, complete = read_results(tmp_path / "out.txt")
        assert len(written) == count and written[-1] == result and not complete
    assert read_results(tmp_path / "out.txt")[2]


def test_verdicts_are_those_of_the_file_in_order(whole: tuple[Path, list[InstanceResult]]) -> None:
    folder, results = whole
    _, written, complete = read_results(folder / "out.txt")
    assert written == results and complete
    assert [result.index for result in results] == list(range(8))
    assert {result.verdict for result in results} >= {Verdict.VERIFIED, Verdict.FALSIFIED}


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the next runs stop as on Ctrl-C after so many results; with 0 it stops doing that."""

    def after(count: int) -> None:
        if count:
            with_decisions(monkeypatch, up_to(count))
        else:
            monkeypatch.undo()

    return after


@pytest.mark.parametrize("count", (1, 3, 7))
def test_an_interrupted_run_goes_on_to_the_same_results(
    tmp_path: Path, whole: tuple[Path, list[InstanceResult]], interrupt: Callable[[int], None], count: int
) -> None:
    interrupt(count)
    with pytest.raises(KeyboardInterrupt):
        list(prepare_native(configured(tmp_path)).run())
    assert len(read_results(tmp_path / "out.txt")[1]) == count
    interrupt(0)
    again = prepare_native(configured(tmp_path))
    assert list(again.results.done) == list(range(count)) and again.todo == list(range(count, 8))
    found = {**again.results.done, **{result.index: result for result in again.run()}}
    results = [found[index] for index in again.indices]
    assert facts(results) == facts(whole[1])
    times = "mean time"
    assert [line for line in summary_lines(results) if not line.startswith(times)] == [
        line for line in summary_lines(whole[1]) if not line.startswith(times)
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.txt", "unstable.st"]


def test_the_dump_of_an_interrupted_run_counts_every_image_once(
    tmp_path: Path, whole: tuple[Path, list[InstanceResult]], interrupt: Callable[[int], None]
) -> None:
    interrupt(4)  # the second batch is counted in the dump, but only one of its images is in the results
    with pytest.raises(KeyboardInterrupt):
        list(prepare_native(configured(tmp_path)).run())
    interrupt(0)
    list(prepare_native(configured(tmp_path)).run())
    ours, theirs = dumps.load(tmp_path / "unstable.st"), dumps.load(whole[0] / "unstable.st")
    assert torch.equal(ours.indices, theirs.indices)
    assert all(torch.equal(ours.counts[site], theirs.counts[site]) for site in theirs.counts)


def test_a_run_interrupted_after_its_last_image_has_nothing_left_to_do(tmp_path: Path) -> None:
    list(prepare_native(configured(tmp_path, data__end=3)).run())
    path = tmp_path / "out.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    again = prepare_native(configured(tmp_path, data__end=3))
    assert again.todo == [] and list(again.run()) == []
    assert read_results(path)[2]


@pytest.mark.parametrize(
    "changed",
    [
        {"specification__epsilon": 0.05},
        {"data__end": 7},
        {"attack__pgd_steps": 6},
        {"solver__bound_prop_method": "ibp"},
        {"general__complete_verifier": "bab"},
        {"data__split": "train"},
    ],
)
def test_other_settings_start_another_results_file(tmp_path: Path, changed: dict[str, object]) -> None:
    prepare_native(configured(tmp_path, instability__dump=None))
    run = prepare_native(configured(tmp_path, instability__dump=None, **changed))
    assert run.results.kept == tmp_path / "out.1.txt" and run.results.done == {}


def test_the_same_images_by_other_words_are_the_same_run(tmp_path: Path) -> None:
    prepare_native(configured(tmp_path, data__end=2))
    assert prepare_native(configured(tmp_path, data__select_instance=[0, 1])).results.kept is None


def test_a_dump_of_other_settings_is_refused_before_results_are_touched(
    tmp_path: Path, whole: tuple[Path, list[InstanceResult]]
) -> None:
    (tmp_path / "unstable.st").write_bytes((whole[0] / "unstable.st").read_bytes())
    with pytest.raises(SettingsDifferError, match=r"unstable\.st: made with epsilon = 0\.15, this run has 0\.05"):
        prepare_native(configured(tmp_path, specification__epsilon=0.05))
    assert [path.name for path in tmp_path.iterdir()] == ["unstable.st"]


def test_a_file_that_is_no_results_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("my notes\n")
    with pytest.raises(FileFormatError, match=r"out\.txt"):
        prepare_native(configured(tmp_path))
    assert (tmp_path / "out.txt").read_text() == "my notes\n"


def test_counterexamples_are_misclassified_points_of_the_ball(tmp_path: Path) -> None:
    changed = {"general__save_adv_example": True, "attack__cex_path": str(tmp_path / "cex.txt")}
    run = prepare_native(configured(tmp_path, "digits_baseline", **changed))
    falsified = [result for result in run.run() if result.verdict is Verdict.FALSIFIED]
    assert falsified
    for result in falsified:
        lines = (tmp_path / f"cex_{result.index}.txt").read_text().strip("()\n").splitlines()
        values = [float(line.strip("()").split()[1]) for line in lines]
        point, output = torch.tensor(values[:64]).reshape(1, 1, 8, 8), torch.tensor(values[64:])
        assert (point - run.instances.data.images[result.index]).abs().max() <= 0.15 + 1e-7
        assert 0 <= point.min() and point.max() <= 1
        with torch.no_grad():
            torch.testing.assert_close(run.instances.model.module(point)[0], output)
        assert output.argmax() != result.label


def test_the_recorder_knows_what_the_counts_depend_on(tmp_path: Path) -> None:
    run = prepare_native(configured(tmp_path, instability__population="all", instability__method="interval"))
    settings = run.recorder.dump.settings
    assert {
        "epsilon": 0.15,
        "dataset": "DIGITS",
        "split": "test",
        "population": "all",
        "method": "interval",
    }.items() <= (settings.items())
    assert settings["data"] == run.instances.data.fingerprint


def test_a_dump_is_written_even_if_no_image_of_the_population_was_there(tmp_path: Path) -> None:
    config = configured(tmp_path, data__end=2, specification__epsilon=0.0, instability__population="bab")
    assert [result.verdict for result in prepare_native(config).run()] == [Verdict.VERIFIED] * 2
    assert dumps.load(tmp_path / "unstable.st").n == 0


def test_without_a_dump_nothing_is_recorded(tmp_path: Path) -> None:
    assert prepare_native(configured(tmp_path, instability__dump=None)).recorder is None


def test_the_head_is_plain_json(tmp_path: Path) -> None:
    prepare_native(configured(tmp_path))
    assert json.loads((tmp_path / "out.txt").read_text().splitlines()[0])["kind"] == "results"


def test_one_file_for_results_and_instability_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    config = configured(tmp_path, instability__dump=str(tmp_path / "out.txt"))
    with pytest.raises(ConfigError, match="are one file"):
        prepare_native(config)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_no_name_for_counterexamples(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"attack\.cex_path: / names no file"):
        prepare_native(configured(tmp_path, attack__cex_path="/"))
    assert not list(tmp_path.iterdir())
