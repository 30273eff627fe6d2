"""Where the files of a run lie: the grafted network's in its folder, the plain network's there or in a folder shared
by several runs, which `run.json` names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abcrown_graft.assembly.artifacts import artifact, dump_path, evaluation_path, read_json, results_path
from abcrown_graft.assembly.ledger import Ledger, hashes
from abcrown_graft.assembly.record import RECORD
from abcrown_graft.config.config import Config
from abcrown_graft.config.load import load_config
from abcrown_graft.errors import FileFormatError

NAMES = ("baseline", "grafted")
KINDS: Mapping[str, type] = {"baseline": str, "label": str, "seed": int}


@dataclass(frozen=True)
class RunFolder:
    """A run as its files on the disk.

    Attributes:
        path: the folder of the grafted network's files (`pipeline.output`).
        baseline: the folder of the plain network's files; often the same.
        label: what the run is called in tables, e.g. "grafting 50 %"; None if it has no record.
        seed: of the whole run; None if not recorded.
        alone: it is of the plain network alone, whatever an earlier run has left in the folder.
    """

    path: Path
    baseline: Path
    label: str | None = None
    seed: int | None = None
    alone: bool = False

    @property
    def name(self) -> str:
        """What the run is called if it has no label: `folder_name` of its folder."""
        return folder_name(self.path)

    def home(self, network: str) -> Path:
        """The folder of the files of "baseline" or "grafted"."""
        return self.baseline if network == "baseline" else self.path

    def results(self, network: str) -> Path:
        """The verdicts of a network."""
        return results_path(self._places(), network)

    def dump(self, network: str) -> Path:
        """The instability of a network on the verified images."""
        return dump_path(self._places(), network)

    def evaluation(self, network: str) -> Path:
        """SA and RA of a network."""
        return evaluation_path(self._places(), network)

    def networks(self) -> list[str]:
        """The networks that were verified, the plain one first."""
        return [name for name in NAMES[: 1 if self.alone else 2] if self.results(name).exists()]

    def artifact(self, key: str) -> Path:
        """The file that the pipeline's option `key` names, e.g. "mask.path"; it need not exist."""
        return artifact(self.settings() or self._places(), key)

    def settings(self) -> Config | None:
        """The configuration that the grafted network was tuned with, its folders put where they are now.

        None if `tune.config.yaml` does not lie in the folder.

        Raises:
            ConfigError: it is damaged.
        """
        file = self.path / "tune.config.yaml"
        return load_config(file, self._folders()) if file.is_file() else None

    def check_unchanged(self, path: Path, stage: str) -> None:
        """Whether a file is as the pipeline's stage read it; a folder without `stages.json` does not tell.

        Raises:
            FileFormatError: it is not.
        """
        found = Ledger(self.path / "stages.json").read(stage)
        if found is not None and hashes([path])[0] not in found:
            raise FileFormatError(f"{path}: changed after the stage {stage!r} read it; run 'abcrown-graft run' again")

    def _places(self) -> Config:
        """A configuration by which the pipeline's own functions name the files of its folders."""
        return load_config(None, self._folders())

    def _folders(self) -> dict[str, str]:
        folders = {"pipeline.output": self.path, "pipeline.baseline": self.baseline}
        return {key: str(folder.absolute()) for key, folder in folders.items()}


def folder_name(folder: Path) -> str:
    """Its last part; the last two where that says nothing but the seed."""
    last, row = folder.resolve(), row_folder(folder)
    return last.name if row is None else f"{row.name}/{last.name}"


def row_folder(folder: Path) -> Path | None:
    """The folder, resolved, that holds all seeds of a run, if its own is called `seed_<number>`."""
    last = folder.resolve()
    return last.parent if re.fullmatch(r"seed_\d+", last.name) else None


def open_run(folder: Path) -> RunFolder:
    """The run that wrote into `folder`.

    Raises:
        FileFormatError: the folder is missing, holds no verified network or lacks the one that it was to make, or its
            record is damaged.
    """
    if not folder.is_dir():
        raise FileFormatError(f"{folder}: no such folder; give the pipeline.output of a finished run")
    record = read_record(folder)
    baseline = folder / record["baseline"] if "baseline" in record else folder
    if not baseline.is_dir():
        raise FileFormatError(f"{folder / RECORD}: baseline: {baseline}: no such folder; put it back or run again")
    alone = bool(record) and "ratio" not in record
    run = RunFolder(folder, baseline, record.get("label"), record.get("seed"), alone)
    if not run.networks():
        raise FileFormatError(f"{folder}: holds no verify_baseline.jsonl; run 'abcrown-graft run' first")
    if "ratio" in record and not run.results("grafted").exists():
        raise FileFormatError(f"{run.results('grafted')}: no such file; finish the run with 'abcrown-graft run'")
    return run


def open_runs(folders: Iterable[Path]) -> list[RunFolder]:
    """The runs of these folders, one that is named twice only once; see `open_run`."""
    distinct: dict[Path, Path] = {}
    for folder in folders:
        distinct.setdefault(folder.resolve(), folder)
    return [open_run(folder) for folder in distinct.values()]


def read_record(folder: Path) -> dict[str, Any]:
    """`run.json` without what is null; empty if there is none.

    Raises:
        FileFormatError: it is damaged.
    """
    path = folder / RECORD
    found = {key: value for key, value in read_json(path).items() if value is not None} if path.exists() else {}
    for key, kind in KINDS.items():
        if key in found and (not isinstance(found[key], kind) or isinstance(found[key], bool)):
            raise FileFormatError(f"{path}: {key}: {found[key]!r} is no {kind.__name__}; run 'abcrown-graft run' again")
    return found
