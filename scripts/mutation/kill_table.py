"""The kill table as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from mutants import Equivalent, Mutant
from runs import KILLED, Outcome

HEAD = """# Mutation check

{killed} of {total} seeded soundness bugs are killed by the tests. This file is written by

    python scripts/mutation/check.py --table docs/mutation.md

which puts one bug at a time into a private copy of the package (`scripts/mutation/mutants.yaml`: an exact text that
occurs once, and what stands there instead) and runs the tests that should notice until one fails; before that, these
tests pass without a bug. *Killed* means that a test judged a result to be wrong: a module that does not import, a test
that cannot be collected and a crash do not count. `tests/scripts/test_mutation.py` sees to it that every bug still fits
the code.

| bug | in | what it would break | outcome | first test that fails |
|---|---|---|---|---|
"""

EQUIVALENT = """
## Changes that break nothing

Tried and dropped: no test can notice them, because soundness does not depend on them.

| change | in | why it is harmless |
|---|---|---|
"""


def markdown(mutants: Sequence[Mutant], outcomes: Sequence[Outcome], equivalent: Sequence[Equivalent]) -> str:
    """The whole document."""
    killed = sum(outcome.kind == KILLED for outcome in outcomes)
    rows = [
        _row(mutant.name, f"`{mutant.file}`", mutant.breaks, outcome.kind, f"`{_short(outcome.test)}`")
        for mutant, outcome in zip(mutants, outcomes, strict=True)
    ]
    harmless = [_row(entry.change, f"`{entry.file}`", entry.why) for entry in equivalent]
    tail = EQUIVALENT + "".join(harmless) if harmless else ""
    return HEAD.format(killed=killed, total=len(mutants)) + "".join(rows) + tail


def _short(test: str) -> str:
    """Without the folder that they all lie in, and without parameters."""
    return test.removeprefix("tests/").partition("[")[0]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |\n"
