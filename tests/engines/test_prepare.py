"""Each engine prepares its own runs."""

from __future__ import annotations

from pathlib import Path

from fake_abcrown import FOUND

from abcrown_graft.config.config import Config
from abcrown_graft.config.experiments import find_config
from abcrown_graft.config.load import load_config
from abcrown_graft.engines.abcrown.engine import AbcrownEngine
from abcrown_graft.engines.choose import Choice
from abcrown_graft.engines.native.engine import NativeEngine
from abcrown_graft.engines.prepare import prepare_run


def configured(folder: Path) -> Config:
    values = {"data.end": 2, "general.results_file": str(folder / "out.txt")}
    return load_config(find_config("digits_graft"), values)


def test_the_engine_is_the_chosen_one(tmp_path: Path) -> None:
    assert isinstance(prepare_run(configured(tmp_path), Choice("native")).engine, NativeEngine)
    assert isinstance(prepare_run(configured(tmp_path), Choice("abcrown", None, FOUND)).engine, AbcrownEngine)
