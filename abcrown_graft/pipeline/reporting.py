"""The last stage: the before/after table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from abcrown_graft.config.config import Config
from abcrown_graft.files import write_atomically
from abcrown_graft.pipeline.artifacts import artifact, output_folder
from abcrown_graft.pipeline.reporter import Reporter
from abcrown_graft.report.outcome import Outcome, read_outcomes
from abcrown_graft.report.table import markdown


def report_stage(config: Config, reporter: Reporter) -> Path:
    """Writes the report on `pipeline.output` and returns its path."""
    path = artifact(config, "report.path")
    write_report([output_folder(config)], path)
    return path


def write_report(folders: Sequence[Path], path: Path | None) -> list[Outcome]:
    """The outcomes of the runs, written as Markdown if there is a path."""
    outcomes = [outcome for folder in folders for outcome in read_outcomes(folder)]
    if path is not None:
        write_atomically(path, markdown(outcomes).encode())
    return outcomes
