"""The whole pipeline: what runs, what is skipped, what is kept, and that interruptions leave no trace."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command_line import Listener, miniature
from decisions import up_to

from abcrown_graft.config.config import Config
from abcrown_graft.errors import ConfigError, FileFormatError
from abcrown_graft.files import read_safetensors
from abcrown_graft.formats.results import read_results
from abcrown_graft.masks import dump as dumps
from abcrown_graft.masks.mask import GraftMask
from abcrown_graft.models.weights import package_folder
from abcrown_graft.pipeline import evaluation, reporting, scoring, training
from abcrown_graft.pipeline.run import run_alone, run_pipeline
from abcrown_graft.pipeline.stages import pipeline_stages
from abcrown_graft.report.outcome import read_all_outcomes
from abcrown_graft.verdict import InstanceResult
from abcrown_graft.verify.runner import Run

STAGES = ["train", "instability", "significance gradient", "mask", "tune"]
STAGES += ["verify baseline", "evaluate baseline", "verify grafted", "evaluate grafted", "report"]
AFTER_MASK = ["mask", "tune", "verify grafted", "evaluate grafted", "report"]
WEIGHTS = package_folder() / "model_defs" / "weights" / "digits_baseline.safetensors"


def run(config: Config) -> tuple[list[str], list[str]]:
    """The stages that ran, and the other lines."""
    listener = Listener()
    run_pipeline(config, listener)
    heads = [line[1:-1] for line in listener.lines if line.startswith("[") and line.endswith("]")]
    return heads, listener.lines


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder with a finished run, and the stages that ran."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, run(miniature(folder))[0]


@pytest.fixture
def copy(tmp_path: Path, finished: tuple[Path, list[str]]) -> Path:
    """A copy of the finished run that a test may change."""
    shutil.copytree(finished[0] / "out", tmp_path / "out")
    return tmp_path


def times(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_first_run_goes_through_all_stages_in_order(finished: tuple[Path, list[str]]) -> None:
    assert finished[1] == STAGES == [stage.name for stage in pipeline_stages(miniature(finished[0]))]


def test_everything_lies_in_the_output_folder(finished: tuple[Path, list[str]]) -> None:
    folder = finished[0]
    assert sorted(path.name for path in folder.iterdir()) == ["miniature.yaml", "out"]
    written = {path.name for stage in pipeline_stages(miniature(folder)) for path in stage.writes}
    beside = {"stages.json", "run.json", "train.log.jsonl", "train.config.yaml", "tune.log.jsonl", "tune.config.yaml"}
    assert {path.name for path in (folder / "out").iterdir()} == written | beside


def test_the_report_compares_the_two_networks(finished: tuple[Path, list[str]]) -> None:
    baseline, grafted = read_all_outcomes([finished[0] / "out"])
    assert (baseline.name, grafted.name) == ("baseline", "grafted")
    assert (baseline.grafted, grafted.grafted) == (0, 0.5)
    assert baseline.instances == grafted.instances == 12
    assert grafted.unr < baseline.unr
    report = (finished[0] / "out" / "report.md").read_text()
    assert "| out | baseline | 0.00 |" in report and "| out | grafting 50 % | 50.00 |" in report


def test_an_unchanged_run_skips_every_stage_and_writes_nothing(copy: Path) -> None:
    before = times(copy / "out")
    heads, lines = run(miniature(copy))
    assert heads == []
    assert lines == [f"[{stage}] unchanged, skipped" for stage in STAGES]
    assert times(copy / "out") == before


@pytest.mark.parametrize(
    "changed",
    [
        {"general__progress": False},
        {"data__data_dir": "elsewhere"},
        {"general__results_file": "other.txt"},
        {"model__path": "out/train.safetensors"},
    ],
)
def test_what_no_stage_depends_on_changes_nothing(copy: Path, changed: dict[str, object]) -> None:
    if "model__path" in changed:
        changed = {"model__path": str(copy / "out" / "train.safetensors")}
    assert run(miniature(copy, **changed))[0] == []


def test_another_ratio_makes_a_new_grafted_network_of_the_same_plain_one(copy: Path) -> None:
    old = {path.name: path.read_bytes() for path in (copy / "out").iterdir()}
    heads, lines = run(miniature(copy, mask__ratio=0.25))
    assert heads == AFTER_MASK
    mask = GraftMask.load(copy / "out" / "mask.safetensors")
    assert mask.count / mask.size == pytest.approx(0.25, abs=1e-3)
    kept = (
        "mask.1.safetensors",
        "tune.1.safetensors",
        "verify_grafted.1.jsonl",
        "evaluation_grafted.1.json",
        "report.1.md",
    )
    for name in (*kept, "verify_grafted_instability.1.safetensors"):
        assert (copy / "out" / name).read_bytes() == old[name.replace(".1.", ".")]
        assert any("kept as" in line and f"{copy}/out/{name}" in line for line in lines)
    for name in ("tune.log.jsonl", "tune.config.yaml"):
        first, last = name.rsplit(".", 1)
        assert (copy / "out" / f"{first}.1.{last}").read_bytes() == old[name], "they are of the earlier checkpoint"
    same = (
        "train.safetensors",
        "instability.safetensors",
        "significance_gradient.safetensors",
        "verify_baseline.jsonl",
    )
    assert all((copy / "out" / name).read_bytes() == old[name] for name in same)
    assert run(miniature(copy, mask__ratio=0.25))[0] == [], "and that is the state of things now"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"report__path": "{folder}/mine.md"}, ["report"]),
        ({"evaluate__limit": 40}, ["evaluate baseline", "evaluate grafted", "report"]),
        ({"data__end": 11}, ["verify baseline", "verify grafted", "report"]),
        ({"attack__pgd_steps": 4}, ["verify baseline", "verify grafted", "report"]),
        ({"tune__lr": 0.02}, ["tune", "verify grafted", "evaluate grafted", "report"]),
        ({"significance__samples": 40}, ["significance gradient", *AFTER_MASK]),
    ],
)
def test_a_stage_runs_again_only_if_it_depends_on_the_change(
    copy: Path, changed: dict[str, object], expected: list[str]
) -> None:
    changed = {key: value.format(folder=copy) if isinstance(value, str) else value for key, value in changed.items()}
    assert run(miniature(copy, **changed))[0] == expected


@pytest.mark.parametrize(
    ("name", "stage", "also"),
    [
        ("significance_gradient.safetensors", "significance gradient", []),
        ("mask.safetensors", "mask", []),
        ("evaluation_baseline.json", "evaluate baseline", []),
        ("report.md", "report", []),
        ("verify_grafted.jsonl", "verify grafted", ["report"]),  # its times differ
    ],
)
def test_a_deleted_file_is_made_again_and_what_follows_stays(
    copy: Path, name: str, stage: str, also: list[str]
) -> None:
    before = (copy / "out" / name).read_bytes()
    (copy / "out" / name).unlink()
    assert run(miniature(copy))[0] == [stage, *also]
    if not also:
        assert (copy / "out" / name).read_bytes() == before
    assert run(miniature(copy))[0] == []


def test_training_anew_gives_the_same_file_so_nothing_else_runs(tmp_path: Path) -> None:
    config = miniature(tmp_path, train__epochs=1, train__limit=100, tune__epochs=1, data__end=2)
    run(config)
    before = (tmp_path / "out" / "train.safetensors").read_bytes()
    (tmp_path / "out" / "train.safetensors").unlink()
    assert run(config)[0] == ["train"]
    assert (tmp_path / "out" / "train.safetensors").read_bytes() == before


def test_a_file_that_somebody_changed_is_kept_and_made_again(copy: Path) -> None:
    path = copy / "out" / "mask.safetensors"
    before = path.read_bytes()
    path.write_bytes(b"somebody's own")
    heads, lines = run(miniature(copy))
    assert heads == ["mask"]
    assert f"[mask] changed since the stage made it: kept as {copy}/out/mask.1.safetensors" in lines
    assert (copy / "out" / "mask.1.safetensors").read_bytes() == b"somebody's own"
    assert path.read_bytes() == before


def test_a_damaged_record_of_the_stages_is_named(copy: Path) -> None:
    (copy / "out" / "stages.json").write_text("{")
    with pytest.raises(FileFormatError, match=r"stages\.json: not a readable JSON file"):
        run(miniature(copy))


def test_a_finished_network_is_grafted_without_training(tmp_path: Path) -> None:
    config = miniature(tmp_path, model__path=str(WEIGHTS), tune__epochs=1, data__end=4)
    assert run(config)[0] == STAGES[1:]
    assert not (tmp_path / "out" / "train.safetensors").exists()
    model = dumps.load(tmp_path / "out" / "verify_baseline_instability.safetensors").model
    assert model == dumps.load(tmp_path / "out" / "instability.safetensors").model
    assert run(config)[0] == []


@pytest.fixture
def interrupted_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the next run stop as on Ctrl-C in the middle of a stage."""
    places = {
        "train": (training, "append_record"),
        "instability": (scoring, "verify_cases"),
        "significance": (scoring, "significance"),
        "mask": (scoring, "select_mask"),
        "tune": (training, "append_record"),
        "verify": (Run, "decided"),
        "evaluate": (evaluation, "pgd_accuracy"),
        "report": (reporting, "markdown"),
    }
    real = {place: getattr(*place) for place in set(places.values())}

    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    def results(place: tuple[object, str]) -> Callable[..., Iterator[InstanceResult]]:
        return lambda *args: up_to(7)(real[place](*args))

    def set_trap(stage: str) -> None:
        for place, function in real.items():
            monkeypatch.setattr(*place, function)
        if stage:
            place = places[stage.split()[0]]
            monkeypatch.setattr(*place, results(place) if place[1] in ("verify_cases", "decided") else stop)

    return set_trap


def test_a_run_interrupted_in_every_stage_ends_as_an_uninterrupted_one(
    tmp_path: Path, finished: tuple[Path, list[str]], interrupted_at: Callable[[str], None]
) -> None:
    config = miniature(tmp_path)
    for number, stage in enumerate(STAGES):
        interrupted_at(stage)
        listener = Listener()
        with pytest.raises(KeyboardInterrupt):
            run_pipeline(config, listener)
        heads = [line for line in listener.lines if line.startswith("[")]
        # What was done before is skipped; what the last interruption cut short is finished.
        assert heads[max(0, number - 1) :] == [f"[{name}]" for name in STAGES[max(0, number - 1) : number + 1]]
    interrupted_at("")
    assert run(config)[0] == ["report"]
    ours, theirs = tmp_path / "out", finished[0] / "out"
    assert {path.name for path in ours.iterdir()} == {path.name for path in theirs.iterdir()}, "nothing is left over"
    for name in ("train.safetensors", "tune.safetensors", "mask.safetensors", "significance_gradient.safetensors"):
        a, b = read_safetensors(ours / name)[0], read_safetensors(theirs / name)[0]
        assert all(torch.equal(a[key], b[key]) for key in b), name
    for name in ("evaluation_baseline.json", "evaluation_grafted.json"):
        assert json.loads((ours / name).read_text()) == json.loads((theirs / name).read_text())
    for name in ("instability", "verify_baseline_instability", "verify_grafted_instability"):
        a, b = dumps.load(ours / f"{name}.safetensors"), dumps.load(theirs / f"{name}.safetensors")
        assert torch.equal(a.indices, b.indices) and all(torch.equal(a.counts[k], b.counts[k]) for k in b.counts)
    for name in ("verify_baseline.jsonl", "verify_grafted.jsonl"):
        a, b = (
            [replace(r, seconds=0.0, lower_bound=None, margin=None) for r in read_results(folder / name)[1]]
            for folder in (ours, theirs)
        )
        assert a == b


def test_an_interrupted_stage_starts_anew_under_other_settings(
    tmp_path: Path, interrupted_at: Callable[[str], None]
) -> None:
    training_log = training.append_record
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "append_record", lambda path, record: _stop_after(training_log, path, record))
        with pytest.raises(KeyboardInterrupt):
            run_pipeline(miniature(tmp_path), Listener())
    assert (tmp_path / "out" / "train.resume").exists()
    interrupted_at("instability")
    listener = Listener()
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(miniature(tmp_path, train__epochs=2), listener)
    assert f"kept as {tmp_path}/out/train.1.resume" in listener.lines[0]
    assert any(line.startswith("train epoch 1/2") for line in listener.lines)


def test_another_format_of_the_report_is_made_beside_the_first(copy: Path) -> None:
    before = (copy / "out" / "report.md").read_bytes()
    page = miniature(copy, report__path=str(copy / "out" / "page.html"))
    assert run(page)[0] == ["report"] and run(page)[0] == []
    assert run(miniature(copy))[0] == ["report"]
    assert (copy / "out" / "report.md").read_bytes() == before
    assert (copy / "out" / "page.html").exists()


def test_the_record_is_of_the_figures_that_are_there(copy: Path, interrupted_at: Callable[[str], None]) -> None:
    interrupted_at("tune")
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(miniature(copy, mask__ratio=0.25), Listener())
    assert json.loads((copy / "out" / "run.json").read_text())["ratio"] == 0.5
    interrupted_at("")
    run(miniature(copy, mask__ratio=0.25))
    assert json.loads((copy / "out" / "run.json").read_text())["ratio"] == 0.25


def test_counterexamples_of_an_earlier_network_are_set_aside(copy: Path) -> None:
    out = copy / "out"
    for name in ("counterexample_grafted_7.txt", "counterexample_baseline_7.txt", "counterexample_grafted_mine.txt"):
        (out / name).write_text("of the 50 % network")
    run(miniature(copy, mask__ratio=0.25))
    found = {path.name for path in out.glob("counterexample_*")}
    kept = {"counterexample_grafted_7.1.txt", "counterexample_baseline_7.txt", "counterexample_grafted_mine.txt"}
    assert found == kept


def test_a_path_for_two_stages_is_refused_before_anything_is_moved(copy: Path) -> None:
    before = times(copy / "out")
    with pytest.raises(ConfigError, match="train.safetensors: stages 'train' and 'tune' would both write it"):
        run_pipeline(miniature(copy, tune__checkpoint=str(copy / "out" / "train.safetensors")), Listener())
    assert times(copy / "out") == before


ALONE = {
    "train": training.train_stage,
    "instability": scoring.instability_stage,
    "significance": scoring.significance_stage,
    "mask": scoring.mask_stage,
    "tune": training.tune_stage,
}


def test_what_single_commands_made_is_not_made_again(tmp_path: Path) -> None:
    config = miniature(tmp_path, train__epochs=1, train__limit=100, tune__epochs=1, data__end=2)
    made = [run_alone(config, name, stage, Listener()) for name, stage in ALONE.items()]
    before = [path.read_bytes() for path in made]
    assert run(config)[0] == STAGES[len(ALONE) :]
    assert [path.read_bytes() for path in made] == before
    assert run(config)[0] == []


def test_a_run_goes_on_with_what_a_single_command_began(tmp_path: Path, interrupted_at: Callable[[str], None]) -> None:
    config, log = miniature(tmp_path), training.append_record
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "append_record", lambda path, record: _stop_after(log, path, record))
        with pytest.raises(KeyboardInterrupt):
            run_alone(config, "train", training.train_stage, Listener())
    interrupted_at("instability")
    listener = Listener()
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(config, listener)
    told = [line.split(":")[0] for line in listener.lines if line.startswith("train epoch")]
    assert told == ["train epoch 3/4", "train epoch 4/4"] and not any("kept as" in line for line in listener.lines)


def test_a_run_goes_on_with_what_a_single_command_began_over_a_finished_one(copy: Path) -> None:
    longer, log = miniature(copy, tune__epochs=3), training.append_record
    old = (copy / "out" / "tune.safetensors").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "append_record", lambda path, record: _stop_after(log, path, record))
        with pytest.raises(KeyboardInterrupt):
            run_alone(longer, "tune", training.tune_stage, Listener())
    heads, lines = run(longer)
    assert heads == ["tune", "verify grafted", "evaluate grafted", "report"]
    assert [line.split(":")[0] for line in lines if line.startswith("tune epoch")] == ["tune epoch 3/3"]
    assert (copy / "out" / "tune.1.safetensors").read_bytes() == old


def test_a_single_command_with_other_settings_is_not_what_the_run_asks_for(copy: Path) -> None:
    run_alone(miniature(copy, mask__ratio=0.25), "mask", scoring.mask_stage, Listener())
    heads, lines = run(miniature(copy))
    assert heads == ["mask"], "the mask is made as it was, so nothing else changes"
    assert f"kept as {copy}/out/mask.2.safetensors" in lines[3]


def test_a_single_command_that_writes_elsewhere_leaves_the_run_alone(copy: Path) -> None:
    before = times(copy / "out")
    elsewhere = miniature(copy, mask__path=str(copy / "mine.safetensors"), mask__ratio=0.25)
    assert run_alone(elsewhere, "mask", scoring.mask_stage, Listener()) == copy / "mine.safetensors"
    assert times(copy / "out") == before


def _stop_after(log: Callable[..., None], path: Path, record: dict[str, object]) -> None:
    log(path, record)
    if record["epoch"] == 2:
        raise KeyboardInterrupt
