"""The options of the stages around training and verification: accuracy, export, report."""

from __future__ import annotations

from dataclasses import dataclass

from abcrown_graft.config.kinds import (
    FLOAT,
    INTEGER,
    PATH,
    TEXT,
)
from abcrown_graft.config.settings import Settings, stage_option


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(Settings):
    """The section `evaluate`: clean and robust accuracy."""

    pgd_steps: int = stage_option(
        "evaluate.pgd_steps", INTEGER, 100, "Gradient steps of the attack that measures robust accuracy.", low=1
    )
    pgd_restarts: int = stage_option("evaluate.pgd_restarts", INTEGER, 1, "Random starts of that attack.", low=1)
    pgd_step: float = stage_option(
        "evaluate.pgd_step", FLOAT, 2.5, "Step of that attack, in units of epsilon / pgd_steps.", above=0
    )
    limit: int | None = stage_option("evaluate.limit", INTEGER, None, "Number of test images used; null is all.", low=1)


@dataclass(frozen=True, kw_only=True)
class ExportOptions(Settings):
    """The section `export`: a benchmark for other verifiers."""

    dir: str | None = stage_option(
        "export.dir", PATH, None, "Folder that receives the benchmark: onnx, vnnlib and instances.csv."
    )
    name: str | None = stage_option(
        "export.name",
        TEXT,
        None,
        "Name of the network's file and of its properties; that of the configuration's file if it is not set.",
    )
    normalization: str = stage_option(
        "export.normalization",
        TEXT,
        "inside",
        "Whether the network takes pixels and normalises them inside, or takes inputs normalised outside.",
        choices=("inside", "outside"),
    )
    opset: int = stage_option("export.opset", INTEGER, 9, "Version of ONNX's operators in the file.", low=9, high=22)


@dataclass(frozen=True, kw_only=True)
class ReportOptions(Settings):
    """The section `report`: the table before and after."""

    path: str | None = stage_option(
        "report.path",
        PATH,
        None,
        "File that receives the report: .html with plots (.md and .csv of that name beside it), .md or .csv alone.",
    )
