"""Several configurations in a row: a plain network in common, one folder each, errors that name the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import MINIATURE, Listener, snapshot

from abcrown_graft.config.config import Config
from abcrown_graft.config.load import load_config
from abcrown_graft.errors import ConfigError
from abcrown_graft.files import read_safetensors
from abcrown_graft.pipeline.several import run_several, with_seeds
from abcrown_graft.report.outcome import read_all_outcomes

QUICK = "train: {epochs: 1, limit: 100}\ntune: {epochs: 1}\ndata: {end: 3}\nevaluate: {limit: 10}\n"
ROWS = {
    "baseline": "pipeline: {output: base, networks: baseline}",
    "graft30": "pipeline: {output: graft30}\nmask: {ratio: 0.3}",
    "random50": "pipeline: {output: random50}\nmask: {preset: random}",
}


def row(folder: Path, name: str, text: str | None = None) -> Config:
    """A row that includes common files, all paths in `folder`."""
    (folder / "miniature.yaml").write_text(MINIATURE)
    (folder / "common.yaml").write_text(f"include: miniature.yaml\n{QUICK}pipeline: {{baseline: base}}\n")
    (folder / f"{name}.yaml").write_text(f"include: common.yaml\n{ROWS[name] if text is None else text}\n")
    return load_config(folder / f"{name}.yaml", {"general.root_path": str(folder)})


def heads(listener: Listener) -> list[str]:
    """What was run of each row; what was skipped is left out."""
    return [line for line in listener.lines if line.startswith(("==", "[")) and not line.endswith("skipped")]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Listener]:
    """A folder with three finished rows."""
    folder, listener = tmp_path_factory.mktemp("table"), Listener()
    folders = run_several([row(folder, name) for name in ROWS], listener)
    assert folders == [folder / "base", folder / "graft30", folder / "random50"]
    return folder, listener


def test_rows_share_the_plain_network(table: tuple[Path, Listener]) -> None:
    folder, listener = table
    grafted = ["mask", "tune", "verify grafted", "evaluate grafted", "report"]
    assert heads(listener) == [
        f"== {folder}/baseline.yaml, seed 3",
        *(f"[{stage}]" for stage in ("train", "verify baseline", "evaluate baseline", "report")),
        f"== {folder}/graft30.yaml, seed 3",
        *(f"[{stage}]" for stage in ("instability", "significance gradient", *grafted)),
        f"== {folder}/random50.yaml, seed 3",
        *(f"[{stage}]" for stage in grafted),
    ]


def test_what_belongs_to_which_network_lies_apart(table: tuple[Path, Listener]) -> None:
    folder, _ = table
    names = {path.name for path in (folder / "base").iterdir()}
    assert not {name for name in names if "grafted" in name or name.startswith(("mask", "tune"))}
    assert {"train.safetensors", "significance_gradient.safetensors", "evaluation_baseline.json"} <= names
    for run in ("graft30", "random50"):
        names = {path.name for path in (folder / run).iterdir()}
        assert not {name for name in names if "baseline" in name or name.startswith(("train", "sign", "inst"))}
        assert json.loads((folder / run / "run.json").read_text())["baseline"] == "../base"


def test_the_plain_network_is_one_row_of_the_table(table: tuple[Path, Listener]) -> None:
    outcomes = read_all_outcomes([table[0] / name for name in ("base", "graft30", "random50")])
    assert [outcome.label for outcome in outcomes] == ["baseline", "grafting 30 %", "random 50 %"]
    assert [outcome.grafted for outcome in outcomes] == [0, pytest.approx(0.3, abs=1e-3), 0.5]


def test_a_second_run_does_nothing_whatever_the_order(table: tuple[Path, Listener]) -> None:
    folder, listener = table[0], Listener()
    configs = [row(folder, name) for name in reversed(ROWS)]
    before = snapshot(folder)
    run_several(configs, listener)
    assert [head for head in heads(listener) if head.startswith("[")] == []
    assert snapshot(folder) == before


def content(folder: Path, name: str) -> tuple[dict[str, list[float]], str]:
    """Tensors and header of a file, the folder's name left out."""
    tensors, header = read_safetensors(folder / name)
    return {key: tensor.tolist() for key, tensor in tensors.items()}, json.dumps(header).replace(str(folder), "")


def test_a_row_on_its_own_makes_the_same_files(tmp_path: Path, table: tuple[Path, Listener]) -> None:
    run_several([row(tmp_path, "random50")], Listener())
    assert not (tmp_path / "base" / "significance_gradient.safetensors").exists()
    for name in ("base/train.safetensors", "base/instability.safetensors", "random50/mask.safetensors"):
        assert content(tmp_path, name) == content(table[0], name)


def test_seeds_have_folders_of_their_own(tmp_path: Path) -> None:
    configs = [row(tmp_path, "graft30"), row(tmp_path, "random50", "pipeline: {output: r, baseline: null}")]
    assert with_seeds(configs, []) == configs
    found = with_seeds(configs, [5, 6])
    assert [config["general.seed"] for config in found] == [config["mask.seed"] for config in found] == [5, 5, 6, 6]
    assert [config["pipeline.output"] for config in found] == [
        "graft30/seed_5",
        "r/seed_5",
        "graft30/seed_6",
        "r/seed_6",
    ]
    assert [config["pipeline.baseline"] for config in found] == ["base/seed_5", None, "base/seed_6", None]
    assert found[0].replace({key: configs[0][key] for key in found[0].origins}) == configs[0]


CLASHES = [
    (
        "pipeline: {output: graft30}",
        r"b\.yaml, seed 3: stage 'mask' writes .*/graft30/mask\.safetensors, as 'mask' of .*"
        r"graft30\.yaml, seed 3 does; give each its own pipeline\.output",
    ),
    (
        "report: {path: graft30/report.md}\npipeline: {output: b}",
        "'report' writes .*; give each its own pipeline.output",
    ),
    ("train: {epochs: 2}\npipeline: {output: b}", "'train' writes .*, but train.epochs is 2 here and 1 there; give"),
    ("significance: {samples: 20}\npipeline: {output: b}", "but significance.samples is 20 here and 50 there"),
    ("data: {end: 2}\npipeline: {output: b}", "'verify baseline' writes .*, but data.end is 2 here and 3 there"),
    ("tune: {checkpoint: base/train.safetensors}\npipeline: {output: b}", "'tune' writes .*, as 'train' of"),
    (
        "model: {path: model_defs/weights/digits_baseline.safetensors}\npipeline: {output: b}",
        r"it reads \S*/digits_baseline\.safetensors here and \S*/base/train\.safetensors there",
    ),
]


@pytest.mark.parametrize(("text", "told"), CLASHES)
def test_rows_that_would_move_each_others_files_are_refused_before_any_runs(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        run_several([row(tmp_path, "graft30"), row(tmp_path, "b", text)], Listener())
    assert not (tmp_path / "base").exists() and not (tmp_path / "graft30").exists()


def test_an_error_names_the_row_and_leaves_the_earlier_ones(tmp_path: Path) -> None:
    wrong = row(tmp_path, "wrong", "evaluate: {limit: 501}\npipeline: {output: wrong, baseline: other}")
    wrong = wrong.replace({"evaluate.limit": 501}, "flag --evaluate_limit")
    with pytest.raises(ConfigError, match=r"^\S+/wrong\.yaml: flag --evaluate_limit: evaluate\.limit: 501") as error:
        run_several([row(tmp_path, "baseline"), wrong, row(tmp_path, "graft30")], Listener())
    assert str(error.value).count("wrong.yaml") == 1
    assert (tmp_path / "base" / "report.md").exists()
    assert not (tmp_path / "wrong").exists() and not (tmp_path / "graft30").exists()
