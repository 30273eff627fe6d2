"""Outcomes as rows: Markdown for the report file, rich for the terminal, and the cells that HTML shows too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from abcrown_graft.report.groups import Group, doubled, group_by_seed
from abcrown_graft.report.outcome import Outcome

if TYPE_CHECKING:
    from rich.table import Table

TITLE = "Before and after grafting"
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
GROUP_TITLE = "Mean ± standard deviation over seeds"
GROUP_HEADINGS = ("run", "network", "seeds", *HEADINGS[2:])
LEGEND = (
    "UNR: mean share of unstable, ungrafted neurons per image, of all neurons or of the ungrafted ones. "
    "VA: verified / all instances. SA, RA: clean and PGD accuracy. time: mean seconds per instance, attack included."
)
WORDS = ("run", "network", "seeds")


def cells(outcome: Outcome) -> tuple[str, ...]:
    """One row under `HEADINGS`."""
    shares = (outcome.grafted, outcome.unr, outcome.unr_ungrafted, outcome.verified, outcome.clean, outcome.robust)
    percent = ["-" if share is None else f"{100 * share:.2f}" for share in shares]
    return (outcome.run, outcome.label, *percent, f"{outcome.seconds:.3f}", f"{outcome.undecided}/{outcome.instances}")


def group_cells(group: Group) -> tuple[str, ...]:
    """One row under `GROUP_HEADINGS`."""
    words = (group.run or "-", group.label, ", ".join(map(str, group.seeds)))
    return (*words, *(_spread(group, name) for name in group.mean))


def _spread(group: Group, name: str) -> str:
    mean, std = group.mean[name], group.std[name]
    if mean is None or std is None:
        return "-"
    factor, digits = {"seconds": (1, 3), "undecided": (1, 1)}.get(name, (100, 2))
    return f"{factor * mean:.{digits}f} ± {factor * std:.{digits}f}"


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The tables of the report, with what they are of."""
    parts = [f"# {TITLE}", markdown_table(HEADINGS, [cells(outcome) for outcome in outcomes])]
    groups = group_by_seed(outcomes)
    if groups:
        parts += [f"## {GROUP_TITLE}", markdown_table(GROUP_HEADINGS, [group_cells(group) for group in groups])]
    parts += [LEGEND, "\n".join(f"- {line}" for line in count_lines(outcomes))]
    return "\n\n".join(parts) + "\n"


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in which no cell can end its row."""
    lines = [headings, ("---",) * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def count_lines(outcomes: Sequence[Outcome]) -> list[str]:
    """Which images the figures of each outcome are of, and which seeds are not averaged."""
    lines = [
        f"{o.run}, {o.label}{'' if o.seed is None else f', seed {o.seed}'}: VA and time over {o.instances} images, "
        f"UNR over {o.counted} of them, SA and RA over {o.evaluated} images"
        for o in outcomes
    ]
    return lines + [
        f"{a.label}: not averaged over seeds, as {a.run} and {b.run} are both of seed {a.seed}; "
        "give each its own pipeline.label"
        for a, b in doubled(outcomes)
    ]


def rich_table(outcomes: Sequence[Outcome]) -> Table:
    """The rows for the terminal."""
    return _rich(TITLE, HEADINGS, [cells(outcome) for outcome in outcomes])


def rich_group_table(outcomes: Sequence[Outcome]) -> Table | None:
    """Mean and standard deviation over seeds for the terminal; None where no method has several."""
    groups = group_by_seed(outcomes)
    return _rich(GROUP_TITLE, GROUP_HEADINGS, [group_cells(group) for group in groups]) if groups else None


def _rich(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in WORDS else "right")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    return table
