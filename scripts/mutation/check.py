"""Seeds soundness bugs one at a time and shows that the tests notice each; see docs/mutation.md.

    python scripts/mutation/check.py --table docs/mutation.md
    python scripts/mutation/check.py --only "swapped upper slope" --jobs 1

The bugs are in `mutants.yaml`. Each is put into a private copy of the package, never into the checkout, and only the
tests that should notice it are run; before that, these pass on a copy without bugs. Needs an editable installation.

Exit code: 0 every mutant is killed, 1 some are not, 2 a mutant does not fit the code or the tests fail without one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from kill_table import markdown
from mutants import PACKAGE, Mutant, MutantError, mutated, read_mutants
from runs import KILLED, ROOT, SURVIVED, Outcome, private_copy, run_mutant, run_tests

LIMIT = 120.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.only and options.table is not None:
        parser.error("--table is for all mutants; leave --only out")
    try:
        chosen, equivalent = read_mutants()
        if options.only:
            chosen = _named(chosen, options.only)
        for mutant in chosen:
            mutated(mutant, ROOT)
        check_unmutated(chosen)
    except MutantError as error:
        print(error, file=sys.stderr)
        return 2
    outcomes = run_all(chosen, options.limit, options.jobs, partial(print, flush=True))
    if options.table is not None:
        options.table.write_text(markdown(chosen, outcomes, equivalent), encoding="utf-8")
    alive = [mutant.name for mutant, outcome in zip(chosen, outcomes, strict=True) if outcome.kind != KILLED]
    print(f"{len(chosen) - len(alive)} of {len(chosen)} killed" + "".join(f"\nnot killed: {name}" for name in alive))
    return 1 if alive else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="mutants to run; all without it")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the kill table there, as Markdown")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time (default: 1)")
    parser.add_argument("--limit", type=float, default=LIMIT, help=f"seconds for one mutant (default: {LIMIT:.0f})")
    return parser


def _named(mutants: Sequence[Mutant], names: Sequence[str]) -> list[Mutant]:
    known = {mutant.name: mutant for mutant in mutants}
    if unknown := [name for name in names if name not in known]:
        raise MutantError(f"--only: no mutant is called {unknown[0]!r}; known: {', '.join(known)}")
    return [known[name] for name in names]


def check_unmutated(mutants: Sequence[Mutant]) -> None:
    """Raises MutantError unless all tests of the mutants pass without a bug."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    with private_copy() as copy:
        outcome = run_tests(copy, PACKAGE, tests)
    if outcome.kind != SURVIVED:
        raise MutantError(f"without a mutant, the tests do not pass: {outcome.test}\n{outcome.detail}")


def run_all(mutants: Sequence[Mutant], limit: float, jobs: int, tell: Callable[[str], None]) -> list[Outcome]:
    """The outcomes, in order; `tell` is told each as it comes."""

    def timed(mutant: Mutant) -> tuple[Outcome, float]:
        start = time.perf_counter()
        return run_mutant(mutant, limit), time.perf_counter() - start

    outcomes = []
    with ThreadPoolExecutor(jobs) as pool:
        for mutant, (outcome, seconds) in zip(mutants, pool.map(timed, mutants), strict=True):
            tell(f"{outcome.kind:9} {seconds:4.0f} s  {mutant.name}: {outcome.test} {_short(outcome.detail)}")
            outcomes.append(outcome)
    return outcomes


def _short(detail: str) -> str:
    return detail.strip().rpartition("\n")[2][:160]


if __name__ == "__main__":
    sys.exit(main())
