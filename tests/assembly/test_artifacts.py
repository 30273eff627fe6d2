"""Which file each stage writes, and small JSON files."""

from __future__ import annotations

from pathlib import Path

import pytest

from abcrown_graft.assembly.artifacts import (
    DEFAULTS,
    artifact,
    baseline_folder,
    is_artifact,
    network_folder,
    output_folder,
    read_json,
    write_json,
)
from abcrown_graft.config.load import load_config
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.errors import FileFormatError


def test_every_default_belongs_to_an_option_that_names_the_file() -> None:
    assert all(key in SCHEMA and SCHEMA[key].default is None for key in DEFAULTS)
    assert len(set(DEFAULTS.values())) == len(DEFAULTS)


@pytest.mark.parametrize("key", DEFAULTS)
def test_a_file_is_the_named_one_or_lies_in_the_output(key: str) -> None:
    config = load_config(None, {"pipeline.output": "mine"})
    assert artifact(config, key) == Path("mine") / DEFAULTS[key].format(method="gradient")
    assert artifact(config.replace({key: "there/x"}), key) == Path("there/x")


@pytest.mark.parametrize("key", DEFAULTS)
def test_what_is_of_the_plain_network_lies_in_the_baseline(key: str) -> None:
    config = load_config(None, {"pipeline.output": "mine", "pipeline.baseline": "shared"})
    of_baseline = key in ("train.checkpoint", "instability.dump", "significance.path")
    assert artifact(config, key).parent == Path("shared" if of_baseline else "mine")
    assert artifact(config.replace({key: "there/x"}), key) == Path("there/x")


def test_measurements_lie_with_their_network() -> None:
    config = load_config(None, {"pipeline.output": "mine", "pipeline.baseline": "shared"})
    assert [network_folder(config, name) for name in ("baseline", "grafted", "model")] == [
        Path("shared"),
        Path("mine"),
        Path("mine"),
    ]
    assert baseline_folder(load_config(None, {"pipeline.output": "mine"})) == Path("mine")


def test_scores_of_different_methods_have_different_files() -> None:
    config = load_config(None)
    found = {
        artifact(config.replace({"significance.method": m}), "significance.path") for m in ("gradient", "magnitude")
    }
    assert found == {Path("runs/significance_gradient.safetensors"), Path("runs/significance_magnitude.safetensors")}


def test_the_output_is_a_folder_of_its_own_by_default() -> None:
    assert output_folder(load_config(None)) == Path("runs")
    assert output_folder(load_config(None, {"pipeline.output": ""})) == Path("runs")


def test_relative_files_start_from_the_root_path(tmp_path: Path) -> None:
    config = load_config(None, {"general.root_path": str(tmp_path), "mask.path": "m.st"})
    assert artifact(config, "mask.path") == tmp_path / "m.st"
    assert artifact(config, "tune.checkpoint") == tmp_path / "runs" / "tune.safetensors"


def test_whether_a_key_names_the_file_of_a_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(None)
    assert not is_artifact(config, "model.path", "train.checkpoint")
    for path, same in (
        ("runs/train.safetensors", True),
        (str(tmp_path / "runs/train.safetensors"), True),
        ("x", False),
    ):
        assert is_artifact(config.replace({"model.path": path}), "model.path", "train.checkpoint") is same


def test_json_survives_a_round_trip(tmp_path: Path) -> None:
    content = {"a": 1.5, "b": [None, "ü"]}
    write_json(tmp_path / "deep" / "a.json", content)
    assert read_json(tmp_path / "deep" / "a.json") == content


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no such file; finish the run"),
        (b"{", "not a readable JSON"),
        (b"\xff", "not a text file in UTF-8"),
        (b"3", "not a JSON object"),
    ],
)
def test_anything_else_is_refused_by_name(tmp_path: Path, content: bytes | None, told: str) -> None:
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(FileFormatError) as error:
        read_json(tmp_path / "a.json")
    assert str(error.value).startswith(f"{tmp_path}/a.json: {told}")
