"""The seeded bugs: what they are (`mutants.yaml`), and how one is put into a copy of the package."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TABLE = Path(__file__).with_name("mutants.yaml")
PACKAGE = "abcrown_graft"


class MutantError(Exception):
    """A mutant that does not fit the code, or a table that is not one."""


@dataclass(frozen=True)
class Mutant:
    """One bug.

    Attributes:
        name: unique.
        file: relative to the package.
        old, new: the text that occurs exactly once in the file, and what stands there instead.
        breaks: what would go wrong.
        tests: files, folders or single tests (`file::test`), relative to the checkout, that should notice.
    """

    name: str
    file: str
    old: str
    new: str
    breaks: str
    tests: tuple[str, ...]

    @property
    def module(self) -> str:
        """The mutated module's name."""
        return f"{PACKAGE}." + self.file.removesuffix(".py").replace("/", ".")


@dataclass(frozen=True)
class Equivalent:
    """A change that looks like a bug and is none, so that no test can notice."""

    file: str
    change: str
    why: str


def read_mutants(path: Path = TABLE) -> tuple[list[Mutant], list[Equivalent]]:
    """The table's mutants in order, and the changes that were found to be equivalent.

    Raises:
        MutantError: an entry lacks a key or has an unknown one, or two mutants have one name.
    """
    table = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        groups = table["files"].items()
        found = [_mutant(file, group["tests"], entry) for file, group in groups for entry in group["mutants"]]
        equivalent = [Equivalent(**entry) for entry in table["equivalent"]]
    except (KeyError, TypeError) as error:
        raise MutantError(f"{path}: {error}; an entry has name, breaks, old, new and maybe tests") from error
    names = [mutant.name for mutant in found]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise MutantError(f"{path}: two mutants are called {repeated[0]!r}; names are unique")
    return found, equivalent


def _mutant(file: str, tests: list[str], entry: dict[str, Any]) -> Mutant:
    return Mutant(**{"file": file, **entry, "tests": tuple(entry.get("tests", tests))})


def mutated(mutant: Mutant, root: Path) -> str:
    """The mutant's file below `root`, with the bug.

    Raises:
        MutantError: the old text does not occur exactly once, the new one changes nothing or is no Python, or
            a test is missing.
    """
    path = root / PACKAGE / mutant.file
    if not path.is_file():
        raise MutantError(f"mutant {mutant.name!r}: {PACKAGE}/{mutant.file} does not exist; name its new place")
    text = path.read_text(encoding="utf-8")
    if (count := text.count(mutant.old)) != 1:
        raise MutantError(f"mutant {mutant.name!r}: {mutant.old!r} occurs {count} times in {mutant.file}, not once")
    changed = text.replace(mutant.old, mutant.new)
    try:
        same = ast.dump(ast.parse(changed)) == ast.dump(ast.parse(text))
    except SyntaxError as error:
        raise MutantError(f"mutant {mutant.name!r}: {mutant.file} is no Python any more: {error}") from error
    if same:
        raise MutantError(f"mutant {mutant.name!r}: the new text means the same as the old one")
    for test in mutant.tests:
        if not (root / test.partition("::")[0]).exists():
            raise MutantError(f"mutant {mutant.name!r}: {test} does not exist; name the tests that should notice")
    return changed
