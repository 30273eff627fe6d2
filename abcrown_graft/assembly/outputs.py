"""The files that a run writes, opened and checked before it begins."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abcrown_graft.assembly.image_instances import ImageInstances
from abcrown_graft.assembly.options import GeneralOptions
from abcrown_graft.assembly.property_instances import PropertyInstances
from abcrown_graft.assembly.recording import instability_recorder
from abcrown_graft.config.config import Config
from abcrown_graft.errors import ConfigError
from abcrown_graft.files import check_writable
from abcrown_graft.formats.results import Results, ResultsFile
from abcrown_graft.formats.vnncomp import VnncompFile
from abcrown_graft.verify.recorder import InstabilityRecorder


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a run writes to, see `Run`."""

    results: Results
    recorder: InstabilityRecorder | None
    counterexamples: Path | None


def image_outputs(config: Config, instances: ImageInstances, methods: Sequence[str], **own: Any) -> Outputs:
    """Results and instability of a run over images; nothing is written but the head of the results file.

    Args:
        methods: of counting instability, that the engine has.
        own: see `ImageInstances.header`.

    Raises:
        ConfigError: two files have one name, or one names a folder.
        FileFormatError, SettingsDifferError: see `ResultsFile` and `InstabilityRecorder`.
        OutputError: nothing can be written to one of them.
    """
    recorder = instability_recorder(config, instances.model, instances.data, methods)
    points = _counterexamples(config)
    path = _results_path(config)
    if recorder is not None and recorder.path.resolve() == path.resolve():
        raise ConfigError(f"general.results_file and instability.dump are one file, {path}; name two")
    saved = None if points is None else _seen_from(path, points)
    return Outputs(ResultsFile(path, instances.header(**own), {"counterexamples": saved}), recorder, points)


def property_outputs(config: Config, instances: PropertyInstances, engine: str, settings: dict[str, Any]) -> Outputs:
    """VNN-COMP's text for a single instance, otherwise JSON lines; there is no recorder: a list may have many networks.

    Args:
        engine, settings: see `PropertyInstances.header`.

    Raises:
        ConfigError, FileFormatError, OutputError: as of `image_outputs`.
    """
    here = config.replace({"general.root_path": ""})  # a benchmark's folder, which nothing is written to
    points, path = _counterexamples(here), _results_path(here)
    if instances.single:
        return Outputs(VnncompFile(path), None, points)
    return Outputs(ResultsFile(path, instances.header(engine=engine, settings=settings)), None, points)


def _counterexamples(config: Config) -> Path | None:
    """`attack.cex_path`; None if counterexamples are not saved.

    Raises:
        ConfigError: it names a folder, whether it is needed or not.
        OutputError: counterexamples are to be saved, and nothing can be written there.
    """
    path = config.path("attack.cex_path", must_exist=False) or Path("test_cex.txt")
    if not path.name:
        raise ConfigError(f"{config.origin('attack.cex_path')}: attack.cex_path: {path} names no file")
    if not config.settings(GeneralOptions).save_adv_example:
        return None
    check_writable(path)
    return path


def _results_path(config: Config) -> Path:
    """`general.results_file`."""
    return config.path("general.results_file", must_exist=False) or Path("out.txt")


def _seen_from(results: Path, path: Path) -> str:
    """A path counted from the folder of the results."""
    return Path(os.path.relpath(path.resolve(), results.resolve().parent)).as_posix()
