"""The whole pipeline from one configuration; a stage whose inputs and settings did not change is skipped.

Beside the artifacts lies `stages.json`: for every finished stage a hash of the settings it reads and of
the files it read, and of the files it wrote. A stage runs again when any of them differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from abcrown_graft import __version__
from abcrown_graft.config.config import Config
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.files import keep_aside
from abcrown_graft.pipeline import inputs
from abcrown_graft.pipeline.artifacts import artifact, output_folder, read_json, write_json
from abcrown_graft.pipeline.baseline import baseline_config, grafted_config
from abcrown_graft.pipeline.comparison import dump_path, results_path, verify_stage
from abcrown_graft.pipeline.evaluation import evaluate_stage
from abcrown_graft.pipeline.reporter import Reporter
from abcrown_graft.pipeline.reporting import report_stage
from abcrown_graft.pipeline.scoring import instability_stage, mask_stage, significance_stage
from abcrown_graft.pipeline.training import train_stage, tune_stage

SUBJECT = ("general.seed", "general.double_fp", "model.name", "data.dataset", "data.mean", "data.std", "specification.")
VERIFY = ("data.", "solver.", "bab.", "attack.", "general.complete_verifier", "general.enable_incomplete_verification")
NOT_SETTINGS = ("data.data_dir", "attack.cex_path")


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline.

    Attributes:
        name: shown, and the key in `stages.json`.
        run: does it.
        settings: keys, or prefixes of keys, that it depends on.
        reads, writes: files.
    """

    name: str
    run: Callable[[Reporter], Path]
    settings: tuple[str, ...]
    reads: tuple[Path, ...]
    writes: tuple[Path, ...]


def pipeline_stages(config: Config) -> list[Stage]:
    """The stages of a configuration, in order."""
    plain, grafted = baseline_config(config), grafted_config(config)
    weights, tuned = artifact(config, "train.checkpoint"), artifact(config, "tune.checkpoint")
    dump, scores = artifact(config, "instability.dump"), artifact(config, "significance.path")
    mask = artifact(config, "mask.path")
    stages = [
        Stage("train", lambda r: train_stage(config, r), (*SUBJECT, "train."), (), (weights,)),
        Stage("instability", lambda r: instability_stage(plain, r), (*SUBJECT, "instability."), (weights,), (dump,)),
        Stage("significance", lambda r: significance_stage(plain, r), (*SUBJECT, "significance."), (weights,), (scores,)),
        Stage("mask", lambda r: mask_stage(config, r), ("mask.",), (dump, scores), (mask,)),
        Stage("tune", lambda r: tune_stage(config, r), (*SUBJECT, "train.", "tune."), (weights, mask), (tuned,)),
    ]
    for name, subject, checkpoint in (("baseline", plain, weights), ("grafted", grafted, tuned)):
        stages += _measurements(subject, name, checkpoint)
    report = artifact(config, "report.path")
    measured = tuple(path for stage in stages if stage.name.startswith(("verify", "evaluate")) for path in stage.writes)
    return [*stages, Stage("report", lambda r: report_stage(config, r), ("report.",), measured, (report,))]


def _measurements(config: Config, name: str, checkpoint: Path) -> list[Stage]:
    evaluation = output_folder(config) / f"evaluation_{name}.json"
    found = (results_path(config, name), dump_path(config, name))
    return [
        Stage(
            f"verify {name}",
            lambda r: verify_stage(config, r, name),
            (*SUBJECT, *VERIFY, "instability.method", "instability.population"),
            (checkpoint,),
            found,
        ),
        Stage(
            f"evaluate {name}",
            lambda r: evaluate_stage(config, r, name),
            (*SUBJECT, "data.split", "evaluate."),
            (checkpoint,),
            (evaluation,),
        ),
    ]


def run_pipeline(config: Config, reporter: Reporter) -> Path:
    """Runs what has to be run; returns the report's path.

    A stage that was interrupted goes on where it stopped. What a stage wrote for other inputs or
    settings is kept under a numbered name.
    """
    record = output_folder(config) / "stages.json"
    done = read_json(record) if record.exists() else {}
    data = {split: inputs.images(config, split).fingerprint for split in ("train", config["data.split"])}
    for stage in pipeline_stages(config):
        before = {**_state(config, stage), "data": data}
        entry = done.get(stage.name)
        begun = isinstance(entry, dict) and entry.get("before") == before
        if begun and entry.get("after") is not None and entry["after"] == _hashes(stage.writes):
            reporter.say(f"[{stage.name}] unchanged, skipped")
            continue
        if not begun:
            _keep_earlier(stage, reporter)
            done[stage.name] = {"before": before, "after": None}
            write_json(record, done)
        reporter.say(f"[{stage.name}]")
        stage.run(reporter)
        done[stage.name] = {"before": before, "after": _hashes(stage.writes)}
        write_json(record, done)
    return artifact(config, "report.path")


def _keep_earlier(stage: Stage, reporter: Reporter) -> None:
    for path in (*stage.writes, *(path.with_suffix(".resume") for path in stage.writes)):
        if path.exists():
            reporter.say(f"[{stage.name}] inputs or settings changed: earlier result kept as {keep_aside(path)}")


def _state(config: Config, stage: Stage) -> dict[str, object]:
    keys = [key for key in SCHEMA if key.startswith(stage.settings) and key not in NOT_SETTINGS]
    return {"version": __version__, "settings": config.fingerprint(keys), "reads": _hashes(stage.reads)}


def _hashes(paths: tuple[Path, ...]) -> list[str | None]:
    """SHA-256 of each file, None for a missing one."""
    return [hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None for path in paths]
