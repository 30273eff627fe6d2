"""The mutation check (`scripts/mutation`): every seeded bug still fits the code, and outcomes mean what they say."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "mutation"))  # scripts import their neighbours by bare names
mutants, runs, kill_table, check = map(importlib.import_module, ("mutants", "runs", "kill_table", "check"))

MUTANTS, EQUIVALENT = mutants.read_mutants()
MUTANT = mutants.Mutant("sign", "value.py", "return x", "return -x", "all", ("tests/test_value.py",))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one module, `value`, and a test folder."""
    for name in (*runs.COPIED, "tests/data"):
        if name.endswith((".cfg", ".toml")):
            (tmp_path / name).touch()
        else:
            (tmp_path / name).mkdir()
    (tmp_path / "abcrown_graft" / "__init__.py").touch()
    (tmp_path / "abcrown_graft" / "value.py").write_text("def value(x):\n    return x\n")
    write_test(tmp_path, "assert value(2) == 2")
    return tmp_path


def write_test(checkout: Path, statement: str) -> None:
    text = f"from abcrown_graft.value import value\n\n\ndef test_value():\n    {statement}\n"
    (checkout / "tests" / "test_value.py").write_text(text)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_fits_the_code(mutant: mutants.Mutant) -> None:
    """Its text occurs once, what results is Python of another meaning, and its tests exist."""
    assert mutant.new in mutants.mutated(mutant, ROOT)


def test_there_are_many_bugs_all_over_the_chain() -> None:
    assert len(MUTANTS) >= 25
    folders = {mutant.file.partition("/")[0] for mutant in MUTANTS}
    assert folders >= {"bounds", "core", "search", "verify", "nn", "network", "attack"}


def test_the_document_lists_every_bug_and_none_that_survived() -> None:
    rows = (ROOT / "docs" / "mutation.md").read_text(encoding="utf-8").splitlines()
    for mutant in MUTANTS:
        outcomes = [row.split(" | ")[3] for row in rows if row.startswith(f"| {mutant.name} |")]
        assert outcomes == ["killed"], mutant.name


def test_a_mutant_is_its_file_with_one_text_changed(checkout: Path) -> None:
    assert mutants.mutated(MUTANT, checkout) == "def value(x):\n    return -x\n"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"old": "return y"}, "'return y' occurs 0 times in value.py, not once"),
        ({"old": "x"}, "'x' occurs 2 times in value.py, not once"),
        ({"new": "return ("}, "is no Python any more"),
        ({"new": "return (x)"}, "means the same"),
        ({"file": "other.py"}, "abcrown_graft/other.py does not exist"),
        ({"tests": ("tests/test_other.py",)}, "tests/test_other.py does not exist"),
    ],
)
def test_a_mutant_that_does_not_fit_is_refused_by_name(checkout: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(mutants.MutantError, match="mutant 'sign': ") as error:
        mutants.mutated(replace(MUTANT, **changes), checkout)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ("[{name: a, breaks: b, old: c}]", "new"),
        ("[{name: a, breaks: b, old: c, new: d, oldd: e}]", "oldd"),
        ("[{name: a, breaks: b, old: c, new: d}, {name: a, breaks: b, old: c, new: e}]", "two mutants are called 'a'"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, entries: str, words: str) -> None:
    path = tmp_path / "mutants.yaml"
    path.write_text(f"files: {{f.py: {{tests: [t], mutants: {entries}}}}}\nequivalent: []\n")
    with pytest.raises(mutants.MutantError, match=words):
        mutants.read_mutants(path)


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("assert value(2) == 2", "killed"),
        ("assert value(2) ** 2 == 4", "survived"),
        ("range(3)[value(2) * 2]", "broken"),  # a crash is no judgement
    ],
)
def test_a_bug_is_killed_if_a_test_judges_a_result_to_be_wrong(checkout: Path, statement: str, kind: str) -> None:
    write_test(checkout, statement)
    outcome = runs.run_mutant(MUTANT, 60, checkout)
    assert (outcome.kind, outcome.test) == (kind, "" if kind == "survived" else "tests/test_value.py::test_value")
    assert (checkout / "abcrown_graft" / "value.py").read_text() == "def value(x):\n    return x\n"


def test_a_module_that_does_not_import_is_broken(checkout: Path) -> None:
    mutant = replace(MUTANT, old="def value(x):", new="import nothing_of_this_name\ndef value(x):")
    outcome = runs.run_mutant(mutant, 60, checkout)
    assert outcome.kind == "broken" and "ModuleNotFoundError" in outcome.detail


def test_a_test_that_cannot_be_collected_is_broken(checkout: Path) -> None:
    outcome = runs.run_mutant(replace(MUTANT, old="def value(x):", new="def other(x):"), 60, checkout)
    assert outcome.kind == "broken"


def test_a_module_from_elsewhere_is_broken(checkout: Path) -> None:
    outcome = runs.run_tests(checkout, "json", ["tests"])
    assert outcome.kind == "broken" and "not from the copy" in outcome.detail


def test_a_run_that_takes_too_long_is_no_kill(checkout: Path) -> None:
    write_test(checkout, "__import__('time').sleep(60)")
    assert runs.run_mutant(MUTANT, 0.5, checkout).kind == "timed out"


def test_the_kill_table_says_who_killed_what() -> None:
    outcomes = [runs.Outcome("killed", "tests/test_value.py::test_value[a]"), runs.Outcome("survived")]
    harmless = [mutants.Equivalent("value.py", "a | b", "nobody reads it")]
    text = kill_table.markdown([MUTANT, replace(MUTANT, name="other")], outcomes, harmless)
    assert "1 of 2 seeded soundness bugs are killed" in text
    assert "| sign | `value.py` | all | killed | `test_value.py::test_value` |" in text
    assert "| other | `value.py` | all | survived |" in text
    assert "| a \\| b | `value.py` | nobody reads it |" in text


def test_an_unknown_name_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["--only", "no such bug"]) == 2
    assert "no mutant is called 'no such bug'; known: a missing rule accepted, " in capsys.readouterr().err


def test_a_part_of_the_mutants_makes_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        check.main(["--only", MUTANTS[0].name, "--table", str(tmp_path / "table.md")])
    assert error.value.code == 2 and "leave --only out" in capsys.readouterr().err
