"""The parts of a report on one run, in their order."""

from __future__ import annotations

from collections.abc import Callable

from abcrown_graft.report.bounds_section import bounds_section
from abcrown_graft.report.criterion_section import criterion_section
from abcrown_graft.report.instability_section import instability_section
from abcrown_graft.report.run_folder import NAMES, RunFolder
from abcrown_graft.report.section import Section
from abcrown_graft.report.slope_section import slope_section
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


def sections(run: RunFolder) -> list[Section]:
    """Everything about a run that compares its two networks; nothing for a run of the plain network alone.

    Raises:
        AbcrownGraftError: a file is damaged, unfinished, or of another network than the rest of the run.
    """
    return [section(run) for section in SECTIONS] if run.networks() == list(NAMES) else []
