"""A progress bar on stderr that lets lines be printed on stdout above it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Bar:
    """What a running command shows."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def print(self, line: str) -> None:
        """One line on stdout; on a terminal the bar stays below it."""
        if self._progress.console.is_terminal and sys.stdout.isatty() and not self._progress.disable:
            self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, flush=True)

    def advance(self, steps: float = 1) -> None:
        """Moves the bar on."""
        self._progress.advance(self._task, steps)


@contextmanager
def progress_bar(description: str, total: float, enabled: bool = True) -> Iterator[Bar]:
    """A bar, drawn only on a terminal.

    Args:
        description: stands before the bar.
        total: steps.
        enabled: False hides it on a terminal too (`general.progress`).
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    hidden = not (enabled and console.is_terminal)
    # rich would send what is printed on stdout to the bar's terminal, also where stdout is a file.
    with Progress(*columns, console=console, disable=hidden, redirect_stdout=False) as progress:
        yield Bar(progress, progress.add_task(description, total=total))
