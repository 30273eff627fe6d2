"""A configuration to be written beside what was made by it: its paths mean the same files there."""

from __future__ import annotations

import os
from pathlib import Path

from abcrown_graft.assembly.artifacts import DEFAULTS
from abcrown_graft.config.config import Config
from abcrown_graft.config.kinds import PATH
from abcrown_graft.config.schema import SCHEMA

# A relative path of a file to be written never means one beside the configuration, see `Config.path`.
WRITTEN = (*DEFAULTS, "pipeline.output", "pipeline.baseline", "attack.cex_path", "general.results_file")
PLACES = ("data.data_dir", "pipeline.output")  # relative by default; other defaults mean that nothing was chosen


def from_folder(config: Config, folder: Path) -> Config:
    """The configuration with its relative paths counted from `folder`, in which its file will lie.

    So they survive another current folder, and a move together with the files they name. Absolute paths stay.
    """
    home = folder.resolve()
    chosen = [key for key, option in SCHEMA.items() if option.kind is PATH and _is_relative(config, key)]
    paths = {key: config.path(key, must_exist=key not in WRITTEN) for key in chosen}
    values = {key: f"$CONFIG_PATH/{_relative(path, home)}" for key, path in paths.items() if path is not None}
    return config.replace(values, "a saved configuration")


def _is_relative(config: Config, key: str) -> bool:
    if config.is_default(key) and key not in PLACES:
        return False
    return bool(config[key]) and not Path(config[key]).expanduser().is_absolute()


def _relative(path: Path, home: Path) -> str:
    """From `home`, whose `..` are followed on the disk; a link that `path` ends with is kept."""
    return Path(os.path.relpath(path.parent.resolve() / path.name, home)).as_posix()
