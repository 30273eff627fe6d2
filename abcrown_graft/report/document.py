"""A report as a whole: the table of all networks, and the sections of each run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from abcrown_graft.report.bounds_section import bounds_section
from abcrown_graft.report.criterion_section import criterion_section
from abcrown_graft.report.instability_section import instability_section
from abcrown_graft.report.outcome import Outcome, read_all_outcomes
from abcrown_graft.report.run_folder import NAMES, RunFolder, open_runs
from abcrown_graft.report.section import Section
from abcrown_graft.report.slope_section import slope_section
from abcrown_graft.report.table import markdown, markdown_table
from abcrown_graft.report.transfer_section import transfer_section
from abcrown_graft.report.transitions import transition_section

SECTIONS: tuple[Callable[[RunFolder], Section], ...] = (
    transition_section,
    instability_section,
    bounds_section,
    criterion_section,
    transfer_section,
    slope_section,
)


@dataclass(frozen=True)
class Document:
    """What a report says.

    Attributes:
        outcomes: one per network.
        chapters: for each run with two networks, its heading and sections.
    """

    outcomes: list[Outcome]
    chapters: list[tuple[str, list[Section]]]


def read_document(folders: Sequence[Path]) -> Document:
    """The report on the runs in these folders.

    Raises:
        AbcrownGraftError: a folder is no run's, or a file is damaged, unfinished, or of another network.
    """
    outcomes, chapters = read_all_outcomes(folders), []
    for run in open_runs(folders):
        found = sections(run)
        if found:
            words = [run.label or run.name, *([run.name] if run.label else [])]
            chapters.append((f"{words[0]} ({words[1]})" if len(words) > 1 else words[0], found))
    return Document(outcomes, chapters)


def sections(run: RunFolder) -> list[Section]:
    """Everything about a run that compares its two networks; nothing for a run of the plain network alone.

    Raises:
        AbcrownGraftError: a file is damaged, unfinished, or of another network than the rest of the run.
    """
    return [section(run) for section in SECTIONS] if run.networks() == list(NAMES) else []


def full_markdown(document: Document) -> str:
    """Words and tables of the whole report, without the plots."""
    parts = [markdown(document.outcomes).rstrip("\n")]
    for heading, found in document.chapters:
        parts.append(f"## {heading}")
        for section in found:
            parts += [f"### {section.title}", *section.text]
            parts += [markdown_table(table.headings, table.rows) for table in section.tables]
    return "\n\n".join(parts) + "\n"
