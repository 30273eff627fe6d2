"""`run.json`: what the run in a folder is called, and where its plain network lies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from abcrown_graft.assembly.artifacts import BASELINE, baseline_folder, output_folder, read_json, write_json
from abcrown_graft.assembly.baseline import is_grafted_here, is_trained_here
from abcrown_graft.assembly.options import GeneralOptions, PipelineOptions
from abcrown_graft.config.config import Config
from abcrown_graft.masks.options import HEURISTICS, LEARNED, LEARNED_LABEL, MaskSettings, SignificanceOptions
from abcrown_graft.masks.presets import PRESETS
from abcrown_graft.training.settings import TrainOptions, TuneOptions

RECORD = "run.json"


def record_path(config: Config) -> Path:
    """Where the record lies."""
    return output_folder(config) / RECORD


def write_record(config: Config) -> None:
    """Writes the record, unless it is there already."""
    path, record = record_path(config), run_record(config)
    if not path.exists() or read_json(path) != record:
        write_json(path, record)


def run_record(config: Config) -> dict[str, Any]:
    """What the report needs to know of a run besides its figures.

    Returns:
        `baseline`: the plain network's folder, relative to the run's; `label`: of the method, the same for other
        seeds; `preset` and `ratio` of the mask, null where nothing is grafted; `seed`.
    """
    folders = (str(folder(config).absolute()) for folder in (baseline_folder, output_folder))
    grafted, mask = is_grafted_here(config), config.settings(MaskSettings)
    return {
        "baseline": Path(os.path.relpath(*folders)).as_posix(),
        "label": label(config),
        "preset": mask.preset if grafted else None,
        "ratio": mask.ratio if grafted else None,
        "seed": config.settings(GeneralOptions).seed,
    }


def label(config: Config) -> str:
    """`pipeline.label`, else the method in words, such as "grafting 50 %" or "SAP 50 %"."""
    given = config.settings(PipelineOptions).label
    if given:
        return given
    if not is_grafted_here(config):
        method = config.settings(TrainOptions).method
        return BASELINE if method == "fat" or not is_trained_here(config) else f"{BASELINE} ({method})"
    mask, tune = config.settings(MaskSettings), config.settings(TuneOptions)
    name = _pruning(config) if tune.prune else _grafting(config)
    notes = ["by channel"] if mask.granularity == "channel" else []
    notes += ["fitted lines"] if tune.fit_lines else []
    notes += ["weights frozen"] if tune.freeze_weights else []
    return ", ".join([f"{name} {100 * mask.ratio:g} %", *notes])


def _pruning(config: Config) -> str:
    """The name of pruning the insignificant neurons by a score that has one in the literature, else in words."""
    method = config.settings(SignificanceOptions).method
    known = LEARNED_LABEL if method == LEARNED else HEURISTICS.about(method).label
    if known and config.settings(MaskSettings).preset == "insignificant":
        return known
    return f"pruning ({_grafting(config)})"


def _grafting(config: Config) -> str:
    mask, method = config.settings(MaskSettings), config.settings(SignificanceOptions).method
    told = PRESETS.about(mask.preset).label or f"grafting ({mask.preset})"
    name = told.format(gamma="" if mask.gamma == 1 else f"{mask.gamma:g} ")
    scored = mask.needs_significance and not config.is_default("significance.method")
    return f"{name} ({method})" if scored else name
