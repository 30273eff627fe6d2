"""The whole pipeline from one configuration; a stage whose inputs and settings did not change is skipped.

Beside the artifacts lies `stages.json`: for every finished stage a hash of the settings it reads and of
the files it read, and of the files it wrote. A stage runs again when any of them differs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abcrown_graft import __version__
from abcrown_graft.config.config import Config
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.files import keep_aside
from abcrown_graft.pipeline.artifacts import artifact, output_folder
from abcrown_graft.pipeline.baseline import baseline_config, grafted_config, is_trained_here, plain_weights
from abcrown_graft.pipeline.comparison import dump_path, results_path, verify_stage
from abcrown_graft.pipeline.evaluation import evaluate_stage
from abcrown_graft.pipeline.ledger import Hashes, Ledger, hashes
from abcrown_graft.pipeline.preflight import preflight
from abcrown_graft.pipeline.reporter import Reporter
from abcrown_graft.pipeline.reporting import report_stage
from abcrown_graft.pipeline.scoring import instability_stage, mask_stage, significance_stage
from abcrown_graft.pipeline.training import train_stage, tune_stage

MODEL = ("model.name", "model.input_shape", "data.mean", "data.std")
SUBJECT = (*MODEL, "general.seed", "general.double_fp", "data.dataset", "specification.")
COUNT = ("instability.", "solver.bound_prop_method")
VERIFY = (
    *("data.", "solver.", "bab.", "attack.", "instability.method", "instability.population"),
    *("general.complete_verifier", "general.enable_incomplete_verification", "general.save_adv_example"),
)
SCORE = ("significance.",)
NOT_SETTINGS = ("data.data_dir", "attack.cex_path")


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline.

    Attributes:
        name: shown, and the key in `stages.json`.
        run: does it.
        settings: prefixes of the keys that it depends on.
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
    weights, tuned = plain_weights(config), artifact(config, "tune.checkpoint")
    dump, scores = artifact(config, "instability.dump"), artifact(config, "significance.path")
    mask = artifact(config, "mask.path")
    making = [
        Stage("train", lambda r: train_stage(config, r), (*SUBJECT, "train."), (), (weights,)),
        Stage("instability", lambda r: instability_stage(plain, r), (*SUBJECT, *COUNT), (weights,), (dump,)),
        Stage("significance", lambda r: significance_stage(plain, r), (*SUBJECT, *SCORE), (weights,), (scores,)),
        Stage("mask", lambda r: mask_stage(config, r), ("mask.",), (dump, scores), (mask,)),
        Stage("tune", lambda r: tune_stage(config, r), (*SUBJECT, "train.", "tune."), (weights, mask), (tuned,)),
    ]
    measuring = [*_measurements(plain, "baseline", weights), *_measurements(grafted, "grafted", tuned)]
    measured = tuple(path for stage in measuring for path in stage.writes)
    report = Stage("report", lambda r: report_stage(config, r), (), measured, (artifact(config, "report.path"),))
    return [*(making if is_trained_here(config) else making[1:]), *measuring, report]


def _measurements(config: Config, name: str, checkpoint: Path) -> list[Stage]:
    evaluation = output_folder(config) / f"evaluation_{name}.json"
    found = (results_path(config, name), dump_path(config, name))
    settings, attack = (*SUBJECT, *VERIFY), (*SUBJECT, "data.split", "evaluate.")
    return [
        Stage(f"verify {name}", lambda r: verify_stage(config, r, name), settings, (checkpoint,), found),
        Stage(f"evaluate {name}", lambda r: evaluate_stage(config, r, name), attack, (checkpoint,), (evaluation,)),
    ]


def run_pipeline(config: Config, reporter: Reporter) -> Path:
    """Runs what has to be run; returns the report's path.

    A stage that was interrupted goes on where it stopped. What a stage wrote for other inputs or
    settings is kept under a numbered name.

    Raises:
        AbcrownGraftError: see `preflight`; then nothing is written.
    """
    facts = preflight(config)
    ledger = Ledger(output_folder(config) / "stages.json")
    for stage in pipeline_stages(config):
        _run_stage(stage, {**_state(config, stage), **facts}, ledger, reporter)
    return artifact(config, "report.path")


def _run_stage(stage: Stage, before: dict[str, Any], ledger: Ledger, reporter: Reporter) -> None:
    """Runs a stage that is to be made from `before`, unless what it made of that is still there."""
    left = ledger.left(stage.name, before)
    if left is not None and left == hashes(stage.writes):
        reporter.say(f"[{stage.name}] unchanged, skipped")
        return
    if left is not None or not ledger.is_begun(stage.name, before):
        _keep_earlier(stage, left, reporter)
        ledger.note(stage.name, before)
    reporter.say(f"[{stage.name}]")
    stage.run(reporter)
    ledger.note(stage.name, before, hashes(stage.writes))


def _keep_earlier(stage: Stage, left: Hashes | None, reporter: Reporter) -> None:
    """Moves files out of the way that the stage did not make from these inputs and settings."""
    if left is None:
        stale = [*stage.writes, *(path.with_suffix(".resume") for path in stage.writes)]
    else:
        files = zip(stage.writes, hashes(stage.writes), left, strict=True)
        stale = [path for path, found, own in files if found != own]
    for path in stale:
        if path.exists():
            reporter.say(f"[{stage.name}] made from other inputs or settings: kept as {keep_aside(path)}")


def _state(config: Config, stage: Stage) -> dict[str, Any]:
    keys = [key for key in SCHEMA if key.startswith(stage.settings) and key not in NOT_SETTINGS]
    return {"version": __version__, "settings": config.fingerprint(keys), "reads": hashes(stage.reads)}
