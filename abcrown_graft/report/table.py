"""Outcomes as rows: Markdown for the report file, rich for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from abcrown_graft.report.outcome import Outcome

if TYPE_CHECKING:
    from rich.table import Table

HEADINGS = (
    "run",
    "network",
    "grafted %",
    "UNR %",
    "UNR % of ungrafted",
    "VA %",
    "SA %",
    "RA %",
    "time s",
    "undecided",
)
LEGEND = (
    "UNR: mean share of unstable, ungrafted neurons per image, of all neurons or of the ungrafted ones. "
    "VA: verified / all instances. SA, RA: clean and PGD accuracy. time: mean seconds per instance, attack included."
)


def cells(outcome: Outcome) -> tuple[str, ...]:
    """One row under `HEADINGS`."""
    shares = (outcome.grafted, outcome.unr, outcome.unr_ungrafted, outcome.verified, outcome.clean, outcome.robust)
    percent = ["-" if share is None else f"{100 * share:.2f}" for share in shares]
    return (outcome.run, outcome.name, *percent, f"{outcome.seconds:.3f}", f"{outcome.undecided}/{outcome.instances}")


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The whole report file."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(cells(outcome) for outcome in outcomes)]
    table = "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows)
    counts = "\n".join(f"- {_counts(outcome)}" for outcome in outcomes)
    return f"# Before and after grafting\n\n{table}\n\n{LEGEND}\n\n{counts}\n"


def _counts(o: Outcome) -> str:
    """Which images the figures are of."""
    return (
        f"{o.run}, {o.name}: VA and time over {o.instances} images, UNR over {o.counted} of them, "
        f"SA and RA over {o.evaluated} images"
    )


def rich_table(outcomes: Sequence[Outcome]) -> Table:
    """The rows for the terminal."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Before and after grafting")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in ("run", "network") else "right")
    for outcome in outcomes:
        table.add_row(*(escape(cell) for cell in cells(outcome)))
    return table
