"""How a stage tells what it is doing; the command line draws it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Steps(Protocol):
    """A running bar."""

    def advance(self, steps: float = 1) -> None:
        """Moves on."""

    def print(self, line: str) -> None:
        """A line beside it."""


class Reporter(Protocol):
    """Takes lines and bars."""

    def say(self, line: str) -> None:
        """One line of news."""

    def bar(self, description: str, total: float) -> AbstractContextManager[Steps]:
        """A bar of `total` steps."""


class Silent:
    """A reporter, and a bar, that shows nothing."""

    def say(self, line: str) -> None:
        """Drops the line."""

    def print(self, line: str) -> None:
        """Drops the line."""

    def advance(self, steps: float = 1) -> None:
        """Does nothing."""

    @contextmanager
    def bar(self, description: str, total: float) -> Iterator[Silent]:
        """A bar that is not drawn."""
        yield self
