"""The plain network and the grafted one of a pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest

from abcrown_graft.assembly.baseline import baseline_config, grafted_config, is_trained_here, plain_weights
from abcrown_graft.config.load import load_config

GRAFT = {"graft.mask": "m.st", "graft.checkpoint": "g.st"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_plain_network_is_the_training_stages_and_not_grafted(here: Path) -> None:
    config = baseline_config(load_config(None, GRAFT))
    assert config["model.path"] == str(here / "runs" / "train.safetensors")
    assert config["graft.mask"] is None and config["graft.checkpoint"] is None


def test_a_plain_network_that_is_named_stays() -> None:
    config = load_config(None, {"model.path": "mine.st"})
    assert baseline_config(config)["model.path"] == "mine.st"
    assert plain_weights(config) == Path("mine.st")
    assert not is_trained_here(config)


@pytest.mark.parametrize("path", (None, "runs/train.safetensors"))
def test_the_plain_network_is_trained_where_no_other_is_named(path: str | None) -> None:
    config = load_config(None, {"model.path": path})
    assert is_trained_here(config) and is_trained_here(baseline_config(config))
    assert plain_weights(config) == Path("runs/train.safetensors")


def test_the_grafted_network_is_the_tuning_stages_unless_named(here: Path) -> None:
    assert grafted_config(load_config(None))["graft.checkpoint"] == str(here / "runs" / "tune.safetensors")
    named = grafted_config(load_config(None, GRAFT))
    assert (named["graft.checkpoint"], named["graft.mask"]) == ("g.st", None)
