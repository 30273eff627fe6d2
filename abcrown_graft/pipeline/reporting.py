"""The last stage: the before/after report, in the format that the name of its file says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from abcrown_graft.assembly.artifacts import artifact, output_folder
from abcrown_graft.assembly.reporter import Reporter
from abcrown_graft.config.config import Config
from abcrown_graft.errors import ConfigError
from abcrown_graft.files import write_atomically
from abcrown_graft.report.csv_table import csv_text
from abcrown_graft.report.outcome import Outcome, read_all_outcomes
from abcrown_graft.report.table import markdown

HTML = (".html", ".htm")
MARKDOWN = (".md", ".markdown", ".txt")
CSV = (".csv",)


def report_stage(config: Config, reporter: Reporter) -> Path:
    """Writes the report on `pipeline.output` and returns its path."""
    path = artifact(config, "report.path")
    write_report([output_folder(config)], path)
    return path


def report_files(path: Path) -> tuple[Path, ...]:
    """The files of the report that `path` names: an HTML file has its tables as Markdown and CSV beside it.

    Raises:
        ConfigError: no report is written in the format that the name ends with.
    """
    suffix = path.suffix.lower()
    if suffix in HTML:
        return (path, path.with_suffix(".md"), path.with_suffix(".csv"))
    if suffix not in (*MARKDOWN, *CSV):
        raise ConfigError(f"report.path: {path}: unknown kind of report {suffix!r}; name a .html, .md or .csv file")
    return (path,)


def check_report(path: Path) -> None:
    """Refuses a report that could not be written, before anything is computed for it.

    Raises:
        ConfigError: see `report_files`.
        UnsupportedError: it needs matplotlib, which is not installed.
    """
    if len(report_files(path)) > 1:
        from abcrown_graft.report.render import require_matplotlib

        require_matplotlib()


def write_report(folders: Sequence[Path], path: Path | None) -> list[Outcome]:
    """The outcomes of the runs, written if there is a path.

    Args:
        folders: of finished runs.
        path: `.html` for the whole report with plots (and `.md` and `.csv` files of that name beside it), `.md` or
            `.csv` for the table alone.

    Raises:
        AbcrownGraftError: the report cannot be made; then nothing is written.
    """
    if path is None:
        return read_all_outcomes(folders)
    check_report(path)
    outcomes, texts = _texts(folders, path)
    for file, text in zip(report_files(path), texts, strict=True):
        write_atomically(file, text.encode())
    return outcomes


def _texts(folders: Sequence[Path], path: Path) -> tuple[list[Outcome], list[str]]:
    """The outcomes, and the content of each of `report_files`."""
    if path.suffix.lower() not in HTML:
        outcomes = read_all_outcomes(folders)
        return outcomes, [csv_text(outcomes) if path.suffix.lower() in CSV else markdown(outcomes)]
    from abcrown_graft.report.document import full_markdown, read_document
    from abcrown_graft.report.html import html_page

    document = read_document(folders)
    return document.outcomes, [html_page(document), full_markdown(document), csv_text(document.outcomes)]
