"""Verdicts go to stdout, bars to a terminal only."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from abcrown_graft.cli import progress
from abcrown_graft.cli.progress import progress_bar


def test_without_a_terminal_only_the_lines_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("verifying", 2) as bar:
        bar.print("first [bold]line[/bold]")
        bar.advance()
        bar.print("second")
        bar.advance()
    assert capsys.readouterr() == ("first [bold]line[/bold]\nsecond\n", "")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal shows."""
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(progress, "Console", lambda **settings: console)
    return shown


def test_a_terminal_shows_the_bar_with_its_count(terminal: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("verifying", 3) as bar:
        bar.advance(2)
        bar.print("a verdict")
    assert "verifying" in terminal.getvalue() and "2/3" in terminal.getvalue()
    assert capsys.readouterr().out == "a verdict\n", "stdout is no terminal here, so the line goes there"


def test_a_line_goes_above_the_bar_where_stdout_is_the_terminal(
    terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar("verifying", 1) as bar:
        monkeypatch.setattr(progress.sys.stdout, "isatty", lambda: True, raising=False)
        bar.print("idx: 7 [red]as it is[/red]")
        monkeypatch.undo()
    assert "idx: 7 [red]as it is[/red]\n" in terminal.getvalue()
    assert capsys.readouterr().out == ""


def test_no_bar_where_it_is_switched_off(terminal: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("verifying", 1, enabled=False) as bar:
        bar.print("a verdict")
        bar.advance()
    assert terminal.getvalue() == ""
    assert capsys.readouterr().out == "a verdict\n"
