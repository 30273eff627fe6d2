"""Which file each stage writes: the path that the configuration names, or a default in a folder of the run.

What belongs to the plain network lies in `pipeline.baseline`, which several runs may share; what belongs to the
grafted one in `pipeline.output`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from abcrown_graft.assembly.reporter import Reporter
from abcrown_graft.config.config import Config
from abcrown_graft.errors import ConfigError, FileFormatError
from abcrown_graft.files import (
    LEGACY_SUFFIXES,
    Limit,
    check_writable,
    parse_json,
    read_text,
    replace_keeping,
    write_atomically,
)
from abcrown_graft.masks.options import SignificanceOptions

DEFAULTS = {
    "train.checkpoint": "train.safetensors",
    "instability.dump": "instability.safetensors",
    "significance.path": "significance_{method}.safetensors",
    "mask.path": "mask.safetensors",
    "tune.checkpoint": "tune.safetensors",
    "export.dir": "export",
    "report.path": "report.md",
}
OF_BASELINE = ("train.checkpoint", "instability.dump", "significance.path")
LIMIT = Limit(2**26, "which no JSON file of a run is")
BASELINE = "baseline"  # the plain network's name in the names of files


def output_folder(config: Config) -> Path:
    """`pipeline.output`."""
    folder = config.path("pipeline.output", must_exist=False)
    return folder if folder is not None else Path("runs")


def baseline_folder(config: Config) -> Path:
    """`pipeline.baseline`; `pipeline.output` if that is not set."""
    folder = config.path("pipeline.baseline", must_exist=False)
    return folder if folder is not None else output_folder(config)


def network_folder(config: Config, name: str) -> Path:
    """Where the measurements of the network `name` go."""
    return baseline_folder(config) if name == BASELINE else output_folder(config)


def results_path(config: Config, name: str) -> Path:
    """Where the verdicts of the network `name` go."""
    return network_folder(config, name) / f"verify_{name}.jsonl"


def dump_path(config: Config, name: str) -> Path:
    """Where the instability of the network `name` on the verified images goes."""
    return network_folder(config, name) / f"verify_{name}_instability.safetensors"


def counterexample_path(config: Config, name: str) -> Path:
    """Where the counterexamples against the network `name` go, if they are saved: apart from the other network's."""
    chosen = None if config.is_default("attack.cex_path") else config.path("attack.cex_path", must_exist=False)
    base = chosen or network_folder(config, name) / "counterexample.txt"
    return base.with_name(f"{base.stem}_{name}{base.suffix}")


def evaluation_path(config: Config, name: str) -> Path:
    """Where the accuracies of the network `name` go."""
    return network_folder(config, name) / f"evaluation_{name}.json"


def artifact(config: Config, key: str) -> Path:
    """The file of a stage, to be written or read; scores of different methods have different default names."""
    named = config.path(key, must_exist=False)
    if named is not None:
        return named
    folder = baseline_folder(config) if key in OF_BASELINE else output_folder(config)
    return folder / DEFAULTS[key].format(method=config.settings(SignificanceOptions).method)


def written(config: Config, key: str) -> Path:
    """`artifact`, for the stage that writes it.

    Raises:
        ConfigError: its name says that it is of another format, by which the next stage would read it.
        OutputError: nothing can be written there.
    """
    path = artifact(config, key)
    check_writable(path)
    if path.suffix == ".safetensors" or (not key.endswith(".checkpoint") and path.suffix not in LEGACY_SUFFIXES):
        return path
    better = path.with_suffix(".safetensors").name
    where = f"{config.origin(key)}: {key}: {path}"
    raise ConfigError(f"{where}: the file is written in safetensors format; name it {better}")


def is_artifact(config: Config, key: str, stage_key: str) -> bool:
    """Whether the file that `key` names is the one that a stage writes, see `artifact`."""
    named = config.path(key)
    return named is not None and named.absolute() == artifact(config, stage_key).absolute()


def replace_artifact(path: Path, write: Callable[[], None], reporter: Reporter) -> None:
    """Calls `write`, which writes `path`; an earlier file of another content is kept, and that is said."""
    kept = replace_keeping(path, write)
    if kept is not None:
        reporter.say(f"earlier {path.name} kept as {kept}")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a small JSON file, atomically."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        FileFormatError: the file is missing or holds anything else.
    """
    if not path.exists():
        raise FileFormatError(f"{path}: no such file; finish the run with 'abcrown-graft run'")
    text = read_text(path, LIMIT)
    try:
        content = parse_json(text)
    except ValueError as error:
        raise FileFormatError(f"{path}: not a readable JSON file ({error})") from None
    if not isinstance(content, dict):
        raise FileFormatError(f"{path}: not a JSON object")
    return content
