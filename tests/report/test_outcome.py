"""A run's figures from its files, computed by hand from small ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from report_runs import finished_run, loaded, plain_core

from abcrown_graft.errors import FileFormatError
from abcrown_graft.formats.results import ResultsFile
from abcrown_graft.masks.dump import add, empty
from abcrown_graft.masks.identity import ModelIdentity
from abcrown_graft.report.outcome import Outcome, read_all_outcomes
from abcrown_graft.verdict import InstanceResult, Verdict

MODEL = ModelIdentity("a", "w", {"1": (4,), "3": (2,)})
VERDICTS = {
    Verdict.VERIFIED: "safe-incomplete",
    Verdict.FALSIFIED: "unsafe-pgd",
    Verdict.UNKNOWN: "unknown",
    Verdict.TIMEOUT: "timeout",
    Verdict.ERROR: "error",
}


def write_network(folder: Path, name: str, grafted: dict[str, int] | None = None) -> None:
    """Five instances of 1 to 5 seconds, one of each verdict; two images with 3 and 1 unstable neurons."""
    results = ResultsFile(folder / f"verify_{name}.jsonl", {"model": name})
    for index, (verdict, status) in enumerate(VERDICTS.items()):
        results.append(InstanceResult(index, 1, 1, verdict, status, seconds=index + 1.0))
    results.complete()
    unstable = {"1": torch.tensor([[1, 1, 0, 0], [0, 1, 0, 0]]).bool(), "3": torch.tensor([[1, 0], [0, 0]]).bool()}
    dump = add(empty(MODEL, grafted or {}, {}), [0, 1], unstable)
    dump.save(folder / f"verify_{name}_instability.safetensors")
    found = {"standard_accuracy": 0.75, "robust_accuracy": 0.5, "images": 8}
    (folder / f"evaluation_{name}.json").write_text(json.dumps(found))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "digits"
    folder.mkdir()
    write_network(folder, "grafted", {"1": 2, "3": 1})
    write_network(folder, "baseline")
    return folder


def test_the_figures_by_hand(run: Path) -> None:
    baseline, grafted = read_all_outcomes([run])
    assert baseline == Outcome(
        run="digits", name="baseline", grafted=0.0, unr=4 / 12, unr_ungrafted=4 / 12, verified=1 / 5, clean=0.75,
        robust=0.5, seconds=3.0, undecided=3, instances=5, counted=2, evaluated=8, problem=("baseline", "None", "None"),
    )  # fmt: skip
    assert (grafted.name, grafted.grafted) == ("grafted", 3 / 6)
    assert (grafted.unr, grafted.unr_ungrafted) == (4 / 12, 4 / 6)


def test_a_run_of_the_plain_network_alone_has_one_outcome(run: Path) -> None:
    (run / "verify_grafted.jsonl").unlink()
    assert [outcome.name for outcome in read_all_outcomes([run])] == ["baseline"]


def test_the_current_folder_has_a_name_too(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run)
    assert read_all_outcomes([Path(".")])[0].run == "digits"


def test_no_ratio_where_no_image_was_counted(run: Path) -> None:
    empty(MODEL, {}, {}).save(run / "verify_baseline_instability.safetensors")
    baseline = read_all_outcomes([run])[0]
    assert (baseline.unr, baseline.unr_ungrafted, baseline.counted) == (None, None, 0)


def unfinished(folder: Path) -> None:
    path = folder / "verify_baseline.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def without_results(folder: Path) -> None:
    path = folder / "verify_baseline.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[-1])


def rewrite(name: str, content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(content) and None


def evaluated(**found: float | None) -> Callable[[Path], None]:
    usual = {"standard_accuracy": 0.75, "robust_accuracy": 0.5, "images": 8}
    return rewrite("evaluation_baseline.json", json.dumps({**usual, **found}))


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-9]) and None


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (unfinished, "verify_baseline.jsonl: the verification is not finished"),
        (without_results, "verify_baseline.jsonl: the verification is not finished"),
        (rewrite("verify_baseline.jsonl", "hello\n"), "verify_baseline.jsonl:1: not a line of a results file"),
        (remove("verify_baseline_instability.safetensors"), "instability.safetensors: no such file"),
        (cut("verify_baseline_instability.safetensors"), "not a complete safetensors file"),
        (remove("evaluation_baseline.json"), "evaluation_baseline.json: no such file"),
        (rewrite("evaluation_baseline.json", "{"), "evaluation_baseline.json: not a readable JSON file"),
        (rewrite("evaluation_baseline.json", "[1]"), "evaluation_baseline.json: not a JSON object"),
        (rewrite("evaluation_baseline.json", "{}"), "evaluation_baseline.json: standard_accuracy: None is no share"),
        (evaluated(standard_accuracy=None), "standard_accuracy: None is no share in [0, 1]"),
        (evaluated(robust_accuracy=float("nan")), "evaluation_baseline.json: robust_accuracy: nan is no share"),
        (evaluated(robust_accuracy=1.5), "robust_accuracy: 1.5 is no share in [0, 1]"),
        (evaluated(images=float("inf")), "evaluation_baseline.json: images: inf is no number of images"),
        (evaluated(images=0), "images: 0 is no number of images"),
    ],
)
def test_a_damaged_or_unfinished_file_is_named(run: Path, damage: Callable[[Path], None], told: str) -> None:
    damage(run)
    with pytest.raises(FileFormatError) as error:
        read_all_outcomes([run])
    assert told in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "told"), [("nowhere", "no such folder"), (".", "holds no verify_baseline.jsonl")])
def test_a_folder_that_is_no_run(tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(FileFormatError, match=told):
        read_all_outcomes([tmp_path / name])


def test_the_label_names_the_grafted_network_and_the_seed_both(run: Path) -> None:
    (run / "run.json").write_text(json.dumps({"baseline": ".", "label": "grafting 50 %", "ratio": 0.5, "seed": 7}))
    baseline, grafted = read_all_outcomes([run])
    assert (baseline.label, grafted.label) == ("baseline", "grafting 50 %")
    assert baseline.seed == grafted.seed == 7


def test_the_label_of_a_run_of_the_plain_network_alone_is_the_plain_networks(run: Path) -> None:
    (run / "run.json").write_text(json.dumps({"label": "FAT", "ratio": None}))
    assert [(o.name, o.label) for o in read_all_outcomes([run])] == [("baseline", "FAT")], "it grafted before"


@pytest.fixture
def rows(tmp_path: Path) -> list[Path]:
    """Two runs that share a plain network."""
    (tmp_path / "plain").mkdir()
    write_network(tmp_path / "plain", "baseline")
    for row in ("a", "b"):
        (tmp_path / row).mkdir()
        write_network(tmp_path / row, "grafted", {"1": 2})
        (tmp_path / row / "run.json").write_text(json.dumps({"baseline": "../plain", "label": row, "ratio": 0.5}))
    return [tmp_path / "a", tmp_path / "b"]


def test_a_shared_plain_network_is_a_row_once(rows: list[Path]) -> None:
    assert [(o.run, o.label) for o in read_all_outcomes(rows)] == [("plain", "baseline"), ("a", "a"), ("b", "b")]


def test_it_is_where_it_was_given_if_it_was(rows: list[Path]) -> None:
    given = [*rows, rows[0].parent / "plain"]
    assert [(o.run, o.name) for o in read_all_outcomes(given)] == [
        ("a", "grafted"),
        ("b", "grafted"),
        ("plain", "baseline"),
    ]


def test_a_shared_plain_network_keeps_the_label_of_its_own_run(rows: list[Path]) -> None:
    (rows[0].parent / "plain" / "run.json").write_text(json.dumps({"label": "FAT"}))
    assert read_all_outcomes(rows)[0].label == "FAT"


def test_seeds_know_the_folder_that_they_lie_in(tmp_path: Path) -> None:
    runs = [finished_run(tmp_path / row / "seed_1", tmp_path / "plain") for row in ("a", "b")]
    for run in runs:
        run.record(baseline="../../plain", label="grafting 50 %", ratio=0.5, seed=1)
    found = read_all_outcomes([run.folder for run in runs])
    assert [(o.run, o.row) for o in found] == [
        ("plain", None),
        ("a/seed_1", tmp_path / "a"),
        ("b/seed_1", tmp_path / "b"),
    ]


def test_a_folder_given_twice_is_read_once(rows: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(rows[0].parent)
    assert [o.run for o in read_all_outcomes([rows[0], Path("a"), Path("b/../a")])] == ["plain", "a"]


@pytest.mark.parametrize("file", ["verify_baseline_instability.safetensors", "evaluation_baseline.json"])
def test_a_file_of_other_weights_than_were_verified_is_named(tmp_path: Path, file: str) -> None:
    run = finished_run(tmp_path / "run")
    run.plain = loaded(plain_core(bias=5.0))
    run.counted("baseline", {0: [0]}) if "instability" in file else run.evaluated("baseline")
    with pytest.raises(FileFormatError, match=f"{file}: of another network .* run 'abcrown-graft run' again"):
        read_all_outcomes([run.folder])
