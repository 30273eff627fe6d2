"""News on stdout, the table in full width where nobody looks."""

from __future__ import annotations

import pytest

from abcrown_graft.cli.reporter import FILE_WIDTH, ConsoleReporter, print_table
from abcrown_graft.config.load import load_config
from abcrown_graft.report.outcome import Outcome
from abcrown_graft.report.table import HEADINGS


def test_news_are_lines_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = ConsoleReporter(load_config(None))
    reporter.say("[mask]")
    with reporter.bar("tune", 3) as bar:
        bar.print("tune epoch 1/3")
        bar.advance()
    assert capsys.readouterr() == ("[mask]\ntune epoch 1/3\n", "")


def test_the_table_is_not_cut_where_stdout_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([Outcome("a-run", "baseline", 0.0, 0.25, 0.25, 0.5, 0.9, 0.8, 1.5, 3, 8, 7, 500)])
    text = capsys.readouterr().out
    assert all(heading in text for heading in HEADINGS)
    assert max(map(len, text.splitlines())) <= FILE_WIDTH
    row = next(line for line in text.splitlines() if "a-run" in line)
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells == ["a-run", "baseline", "0.00", "25.00", "25.00", "50.00", "90.00", "80.00", "1.500", "3/8"]
