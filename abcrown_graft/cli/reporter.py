"""Prints the news of the pipeline's stages for the user of a command line."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from abcrown_graft.assembly.options import GeneralOptions
from abcrown_graft.config.config import Config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from abcrown_graft.cli.progress import Bar
    from abcrown_graft.report.outcome import Outcome

FILE_WIDTH = 160  # columns of a table that goes into a file or a pipe


class ConsoleReporter:
    """An `assembly.reporter.Reporter` that prints news on stdout and draws bars on stderr."""

    def __init__(self, config: Config) -> None:
        self._progress = config.settings(GeneralOptions).progress

    def say(self, line: str) -> None:
        """One line on stdout."""
        print(line, flush=True)

    def bar(self, description: str, total: float) -> AbstractContextManager[Bar]:
        """A bar, drawn on a terminal."""
        from abcrown_graft.cli.progress import progress_bar

        return progress_bar(description, total, self._progress)


def print_table(outcomes: Sequence[Outcome]) -> None:
    """The before/after table on stdout, and the means over seeds where there are several."""
    from abcrown_graft.report.table import rich_group_table, rich_table

    print_rich(rich_table(outcomes))
    groups = rich_group_table(outcomes)
    if groups is not None:
        print_rich(groups)


def print_rich(table: Table) -> None:
    """A table on stdout."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else FILE_WIDTH).print(table)
