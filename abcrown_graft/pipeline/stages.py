"""The stages of a configuration: what each does, reads and writes, and which settings it depends on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from abcrown_graft.assembly.artifacts import (
    BASELINE,
    DEFAULTS,
    artifact,
    counterexample_path,
    dump_path,
    evaluation_path,
    results_path,
)
from abcrown_graft.assembly.baseline import (
    baseline_config,
    grafted_config,
    is_grafted_here,
    is_trained_here,
    plain_weights,
    training_config,
)
from abcrown_graft.assembly.record import record_path
from abcrown_graft.assembly.reporter import Reporter
from abcrown_graft.config.config import Config
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.formats.counterexample import saved_counterexamples
from abcrown_graft.masks.presets import needs_significance
from abcrown_graft.pipeline.evaluation import evaluate_stage
from abcrown_graft.pipeline.reporting import report_files, report_stage
from abcrown_graft.pipeline.scoring import instability_stage, mask_stage, significance_stage
from abcrown_graft.pipeline.training import BESIDE_WEIGHTS, FITTED, train_stage, tune_stage
from abcrown_graft.pipeline.verify_stage import verify_stage

GRAFTED, REPORT = "grafted", "report"
TRAIN = ("train",)
MODEL = ("model.name", "model.input_shape", "data.mean", "data.std")
SUBJECT = (*MODEL, "general.seed", "data.dataset", "specification.norm", "specification.epsilon")
COUNT = ("general.double_fp", "instability.", "solver.bound_prop_method", "specification.robustness_type")
VERIFY = (
    *("specification.", "data.", "solver.", "bab.", "attack.", "instability.method", "instability.population"),
    *("general.double_fp", "general.complete_verifier", "general.enable_incomplete_verification"),
    "general.save_adv_example",
)
LEFT_OPEN = (
    *("specification.", "solver.", "bab.", "attack."),
    *("general.complete_verifier", "general.enable_incomplete_verification"),
)
SCORE = ("significance.",)
LEARN = ("train.attack_step", "tune.slope", "tune.intercept")  # what learned scores depend on besides
NOT_SETTINGS = ("data.data_dir", "attack.cex_path", "train.tensorboard", *DEFAULTS)  # where things lie, what is told


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline.

    Attributes:
        name: shown, and the key in `stages.json`.
        run: does it.
        settings: the keys that it depends on; one that ends with a dot stands for a section.
        splits: of the images that it reads.
        reads, writes: other files.
        shared: it is about the plain network alone, so runs with one `pipeline.baseline` have it in common.
        beside: the other files that it has left, finished or not.
    """

    name: str
    run: Callable[[Reporter], Path]
    settings: tuple[str, ...]
    splits: tuple[str, ...]
    reads: tuple[Path, ...]
    writes: tuple[Path, ...]
    shared: bool = False
    beside: Callable[[], list[Path]] = list

    @property
    def keys(self) -> list[str]:
        """The options that it depends on."""
        sections = tuple(name for name in self.settings if name.endswith("."))
        chosen = [key for key in SCHEMA if key in self.settings or key.startswith(sections)]
        return [key for key in chosen if key not in NOT_SETTINGS]


def pipeline_stages(config: Config) -> list[Stage]:
    """The stages of a configuration, in order; with `pipeline.networks: baseline` none that grafts."""
    plain, weights = baseline_config(config), plain_weights(config)
    making, measuring = [_train(config)] if is_trained_here(config) else [], _measurements(plain, BASELINE, weights)
    if is_grafted_here(config):
        making += _grafting(config)
        measuring += _measurements(grafted_config(config), GRAFTED, artifact(config, "tune.checkpoint"))
    read = (record_path(config), *(path for stage in measuring for path in stage.writes))
    made = report_files(artifact(config, "report.path"))
    return [*making, *measuring, Stage(REPORT, lambda r: report_stage(config, r), (), (), read, made)]


def _train(config: Config) -> Stage:
    weights = artifact(config, "train.checkpoint")
    run, settings = training_config(config), (*SUBJECT, "train.")
    return Stage("train", lambda r: train_stage(run, r), settings, TRAIN, (), (weights,), True, _learnt(weights))


def _learnt(weights: Path) -> Callable[[], list[Path]]:
    return lambda: [weights.with_suffix(suffix) for suffix in BESIDE_WEIGHTS]


def _grafting(config: Config) -> list[Stage]:
    """From the plain network to the grafted one."""
    plain, weights = baseline_config(config), plain_weights(config)
    dump, mask, tuned = (artifact(config, key) for key in ("instability.dump", "mask.path", "tune.checkpoint"))
    stages = [_count(config, plain, weights, dump)]
    scores: tuple[Path, ...] = ()
    if needs_significance(config["mask.preset"], config["mask.gamma"], config["mask.stages"]):
        scores = (artifact(config, "significance.path"),)
        name = f"significance {config['significance.method']}"
        score = (*SUBJECT, *SCORE, *(LEARN if config["significance.method"] == "learned" else ()))
        stages.append(Stage(name, lambda r: significance_stage(plain, r), score, TRAIN, (weights,), scores, True))
    tuning = (*SUBJECT, "train.", "tune.", *(FITTED if config["tune.fit_lines"] else ()))
    stages.append(Stage("mask", lambda r: mask_stage(config, r), ("mask.",), (), (dump, *scores), (mask,)))
    read, beside = (weights, mask), _learnt(tuned)
    stages.append(Stage("tune", lambda r: tune_stage(config, r), tuning, TRAIN, read, (tuned,), beside=beside))
    return stages


def _count(config: Config, plain: Config, weights: Path, dump: Path) -> Stage:
    """Its settings are more where bounds are optimised, or where it matters what they and the attack leave open."""
    count = (*SUBJECT, *COUNT)
    if config["instability.method"] == "alpha-crown":
        count += ("solver.",)
    if config["instability.population"] == "bab":
        count += LEFT_OPEN
    split = (config["instability.split"],)
    return Stage("instability", lambda r: instability_stage(plain, r), count, split, (weights,), (dump,), shared=True)


def _measurements(config: Config, name: str, checkpoint: Path) -> list[Stage]:
    found = (results_path(config, name), dump_path(config, name))
    evaluation, shared = evaluation_path(config, name), name == BASELINE
    settings, attack = (*SUBJECT, *VERIFY), (*SUBJECT, "data.split", "evaluate.")
    split, chosen = (config["data.split"],), config.path("data.data_idx_file")
    instances = (checkpoint,) if chosen is None else (checkpoint, chosen)
    points = partial(saved_counterexamples, counterexample_path(config, name))

    def verify(reporter: Reporter) -> Path:
        return verify_stage(config, reporter, name)

    def evaluate(reporter: Reporter) -> Path:
        return evaluate_stage(config, reporter, name)

    return [
        Stage(f"verify {name}", verify, settings, split, instances, found, shared, points),
        Stage(f"evaluate {name}", evaluate, attack, split, (checkpoint,), (evaluation,), shared),
    ]
