"""`run.json`: what the run in a folder is called, and where its plain network lies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from abcrown_graft.assembly.artifacts import BASELINE, baseline_folder, output_folder, read_json, write_json
from abcrown_graft.assembly.baseline import is_grafted_here, is_trained_here
from abcrown_graft.config.config import Config
from abcrown_graft.masks.presets import needs_significance

RECORD = "run.json"
GRAFTING = {
    "paper": "grafting",
    "thesis": "grafting (thesis)",
    "unstable": "grafting by r_u",
    "insignificant": "grafting by -r_s",
    "random": "random",
}
PRUNING = {"magnitude": "SAP", "gradient": "GAP", "learned": "Hydra"}  # of the insignificant neurons


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
    grafted = is_grafted_here(config)
    return {
        "baseline": Path(os.path.relpath(*folders)).as_posix(),
        "label": label(config),
        "preset": config["mask.preset"] if grafted else None,
        "ratio": config["mask.ratio"] if grafted else None,
        "seed": config["general.seed"],
    }


def label(config: Config) -> str:
    """`pipeline.label`, else the method in words, such as "grafting 50 %" or "SAP 50 %"."""
    if config["pipeline.label"]:
        return config["pipeline.label"]
    if not is_grafted_here(config):
        method = config["train.method"]
        return BASELINE if method == "fat" or not is_trained_here(config) else f"{BASELINE} ({method})"
    name = _pruning(config) if config["tune.prune"] else _grafting(config)
    notes = ["by channel"] if config["mask.granularity"] == "channel" else []
    notes += ["fitted lines"] if config["tune.fit_lines"] else []
    notes += ["weights frozen"] if config["tune.freeze_weights"] else []
    return ", ".join([f"{name} {100 * config['mask.ratio']:g} %", *notes])


def _pruning(config: Config) -> str:
    method = config["significance.method"]
    if config["mask.preset"] == "insignificant" and method in PRUNING:
        return PRUNING[method]
    return f"pruning ({_grafting(config)})"


def _grafting(config: Config) -> str:
    preset, gamma, method = config["mask.preset"], config["mask.gamma"], config["significance.method"]
    if preset == "fixed":
        name = f"grafting by {'' if gamma == 1 else f'{gamma:g} '}r_u - r_s"
    else:
        name = GRAFTING[preset]
    scored = needs_significance(preset, gamma, config["mask.stages"])
    return f"{name} ({method})" if scored and not config.is_default("significance.method") else name
