"""The whole pipeline from one configuration; a stage whose inputs and settings did not change is skipped.

Beside the files of the plain network and beside those of the grafted one lies `stages.json`: for every finished
stage a hash of the settings it reads and of the files it read, and of the files it wrote. A stage runs again when any
of them differs. So runs that share `pipeline.baseline` make its stages once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from abcrown_graft import __version__
from abcrown_graft.assembly.artifacts import artifact, baseline_folder, output_folder
from abcrown_graft.assembly.ledger import Hashes, Ledger, hashes
from abcrown_graft.assembly.record import write_record
from abcrown_graft.assembly.reporter import Reporter
from abcrown_graft.config.config import Config
from abcrown_graft.errors import ConfigError
from abcrown_graft.files import keep_aside
from abcrown_graft.pipeline.preflight import inputs_of_stage, preflight
from abcrown_graft.pipeline.stages import REPORT, Stage, pipeline_stages


def run_pipeline(config: Config, reporter: Reporter) -> Path:
    """Runs what has to be run; returns the report's path.

    A stage that was interrupted goes on where it stopped. What a stage wrote for other inputs or
    settings is kept under a numbered name.

    Raises:
        AbcrownGraftError: see `preflight`; then nothing is written.
    """
    stages = pipeline_stages(config)
    _check_distinct(stages)
    inputs = preflight(config)
    own = _ledger(output_folder(config))
    shared = own if _is_in_one_folder(config) else _ledger(baseline_folder(config))
    for stage in stages:
        if stage.name == REPORT:  # until then the record is that of the figures there
            write_record(config)
        _run_stage(stage, _state(config, stage, inputs.about(stage.splits)), shared if stage.shared else own, reporter)
    return artifact(config, "report.path")


def run_alone(config: Config, name: str, run: Callable[[Config, Reporter], Path], reporter: Reporter) -> Path:
    """One stage as a command of its own; `run_pipeline` will find what it made, or go on with what it began.

    It runs whatever there is already. Nothing is noted if the configuration's pipeline has no such stage, or if the
    stage's files are to lie elsewhere than in the run's folder.

    Args:
        config: the configuration.
        name: "train", "instability", "significance", "mask" or "tune".
        run: does the stage.
        reporter: shows progress.

    Returns:
        The file that the stage wrote.
    """
    stage = next((stage for stage in pipeline_stages(config) if stage.name.split()[0] == name), None)
    if stage is None:
        return run(config, reporter)
    folder = baseline_folder(config) if stage.shared else output_folder(config)
    if any(path.parent.resolve() != folder.resolve() for path in stage.writes):
        return stage.run(reporter)
    before, ledger = _state(config, stage, inputs_of_stage(config, stage.splits)), _ledger(folder)
    with ledger.in_use():
        there, earlier = _last_changes(stage), ledger.entry(stage.name)
        ledger.note(stage.name, before)
        try:
            path = stage.run(reporter)
        except BaseException:
            if _last_changes(stage) == there:
                ledger.put(stage.name, earlier)
            raise
        ledger.note(stage.name, before, hashes(stage.writes))
    return path


def _check_distinct(stages: Sequence[Stage]) -> None:
    """Raises ConfigError if two stages would write the same file."""
    writers: dict[Path, str] = {}
    for stage in stages:
        for path in stage.writes:
            other = writers.setdefault(path.resolve(), stage.name)
            if other != stage.name:
                raise ConfigError(f"{path}: stages {other!r} and {stage.name!r} would both write it; name two files")


def _ledger(folder: Path) -> Ledger:
    return Ledger(folder / "stages.json")


def _is_in_one_folder(config: Config) -> bool:
    return baseline_folder(config).resolve() == output_folder(config).resolve()


def _last_changes(stage: Stage) -> dict[Path, int]:
    """When each file that the stage leaves was changed, of those that are there."""
    return {path: path.stat().st_mtime_ns for path in (*stage.writes, *stage.beside()) if path.exists()}


def _run_stage(stage: Stage, before: dict[str, Any], ledger: Ledger, reporter: Reporter) -> None:
    """Runs a stage that is to be made from `before`, unless what it made of that is still there."""
    if ledger.left(stage.name, before) == hashes(stage.writes):
        reporter.say(f"[{stage.name}] unchanged, skipped")
        return
    with ledger.in_use():
        left = ledger.left(stage.name, before)
        if left is not None or not ledger.is_begun(stage.name, before):
            _keep_earlier(stage, left, reporter)
            ledger.note(stage.name, before)
        reporter.say(f"[{stage.name}]")
        stage.run(reporter)
        ledger.note(stage.name, before, hashes(stage.writes))


def _keep_earlier(stage: Stage, left: Hashes | None, reporter: Reporter) -> None:
    """Moves files out of the way that the stage did not make from these inputs and settings."""
    if left is None:
        stale, why = [*stage.writes, *stage.beside()], "made from other inputs or settings"
    else:
        stale = [path for path, found in zip(stage.writes, hashes(stage.writes), strict=True) if found not in left]
        why = "changed since the stage made it"
    kept = [str(keep_aside(path)) for path in stale if path.exists()]
    if kept:
        others = f" and {len(kept) - 3} others beside it" if len(kept) > 4 else ""
        reporter.say(f"[{stage.name}] {why}: kept as {', '.join(kept[: 3 if others else 4])}{others}")


def _state(config: Config, stage: Stage, inputs: dict[str, Any]) -> dict[str, Any]:
    """All that decides what the stage makes."""
    own = {"version": __version__, "settings": config.fingerprint(stage.keys), "reads": hashes(stage.reads)}
    return {**own, **inputs}
