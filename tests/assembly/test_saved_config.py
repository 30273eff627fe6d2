"""A configuration that lies beside what was made by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Listener, miniature

from abcrown_graft.assembly.saved_config import from_folder
from abcrown_graft.config.load import load_config
from abcrown_graft.pipeline.training import train_stage


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder; in `cfg` lie a configuration and weights."""
    (tmp_path / "here" / "cfg").mkdir(parents=True)
    (tmp_path / "here" / "cfg" / "plain.safetensors").write_bytes(b"")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def test_its_paths_mean_the_same_files_from_anywhere_and_after_a_move(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = {"train__epochs": 1, "train__limit": 120, "train__validation": 40}
    named = {"model__path": "plain.safetensors", "mask__path": "masks/m.safetensors", "pipeline__output": "out/run"}
    train_stage(miniature(Path("cfg"), **quick, **named), Listener())
    monkeypatch.chdir(tmp_path)
    there = here.rename(tmp_path / "there")
    found = load_config(Path("there/out/run/train.config.yaml"))
    expected = {
        "model.path": there / "cfg" / "plain.safetensors",
        "mask.path": there / "masks" / "m.safetensors",
        "pipeline.output": there / "out" / "run",
        "data.data_dir": there / "data",
    }
    for key, path in expected.items():
        assert found.path(key, must_exist=False).resolve() == path, key
    assert load_config(Path("there/out/run/train.config.yaml"))["train.epochs"] == 1


def test_absolute_paths_and_defaults_stay(here: Path) -> None:
    named = {"tune__checkpoint": str(here / "t.safetensors"), "mask__path": "~/m.safetensors"}
    config = miniature(Path("cfg"), **named)
    found = from_folder(config, Path("elsewhere"))
    assert (found["tune.checkpoint"], found["mask.path"]) == (str(here / "t.safetensors"), "~/m.safetensors")
    for key in ("attack.cex_path", "general.results_file", "model.path", "general.root_path"):
        assert found.is_default(key), key


def test_a_root_path_counts(here: Path) -> None:
    config = miniature(Path("cfg"), general__root_path="root", mask__path="m.safetensors", pipeline__output="out")
    found = from_folder(config, Path("root/out"))
    assert (found["mask.path"], found["general.root_path"]) == ("$CONFIG_PATH/../m.safetensors", "$CONFIG_PATH/..")


def test_a_file_to_be_written_is_not_one_beside_the_original(here: Path) -> None:
    """A file that is read may be meant by its place beside the configuration, one that is written never."""
    (here / "cfg" / "tune.safetensors").write_bytes(b"")
    config = miniature(Path("cfg"), tune__checkpoint="tune.safetensors")
    assert from_folder(config, Path("out"))["tune.checkpoint"] == "$CONFIG_PATH/../tune.safetensors"


def test_a_link_to_the_folder_leads_there_too(here: Path, tmp_path: Path) -> None:
    (tmp_path / "disk" / "runs").mkdir(parents=True)
    (here / "out").symlink_to(tmp_path / "disk" / "runs")
    config = from_folder(miniature(Path("cfg"), model__path="plain.safetensors"), Path("out"))
    file = here / "out" / "saved.yaml"
    file.write_text(config.to_yaml())
    assert load_config(file).path("model.path").resolve() == here / "cfg" / "plain.safetensors"
