"""`Customized(...)` is parsed, not evaluated, and imports the function it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from abcrown_graft.config.customized import Customized, parse_customized
from abcrown_graft.errors import ConfigError

SOURCE = """
from __future__ import annotations
import dataclasses

@dataclasses.dataclass
class Pair:
    left: int
    right: int = 2

def make(*args, **kwargs):
    return args, kwargs

number = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "defs.py").write_text(SOURCE)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Customized("a.py", "f")', Customized("a.py", "f")),
        ("  Customized('a', 'f', 1, -2.5, [1, 'x'])\n", Customized("a", "f", (1, -2.5, [1, "x"]))),
        ('Customized("a", "f", k={"x": (1, None)})', Customized("a", "f", (), {"k": {"x": (1, None)}})),
        ("cnn_a", None),
        ("Customizeds", None),
        ("", None),
    ],
)
def test_parses(text: str, expected: Customized | None) -> None:
    assert parse_customized(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Customized", "is malformed"),
        ('Customized("a", "f"', "is malformed"),
        ('Customized("a", "f").g()', "is malformed"),
        ('Customized("a", "f"), 1', "is malformed"),
        ("Customized(" + "(" * 5000, "is malformed"),
        ("Customized()", "has to begin with a file and a function"),
        ('Customized("a")', "has to begin with a file and a function"),
        ('Customized("a", 1)', "has to begin with a file and a function"),
        ('Customized("", "f")', "has to begin with a file and a function"),
        ('Customized("a", "f", open("x"))', "\"open('x')\" is not a literal"),
        ('Customized("a", "f", x)', "'x' is not a literal"),
        ('Customized("a", "f", *[1])', "'*[1]' is not a literal"),
        ('Customized("a", "f", **{"k": 1})', "** is not allowed"),
    ],
)
def test_refuses(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_customized(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_relative_file_is_found_in_the_first_folder_that_has_it(folder: Path) -> None:
    load = Customized("defs.py", "make", (1,), {"k": 2}).load([folder / "none", folder])
    assert load(3) == ((1, 3), {"k": 2})


def test_an_absolute_file(folder: Path) -> None:
    assert Customized(str(folder / "defs.py"), "Pair", (1,)).load([])().right == 2


def test_a_file_without_its_ending(folder: Path) -> None:
    assert Customized("defs", "make").load([folder])() == ((), {})


def test_a_module() -> None:
    assert Customized("os.path", "join", ("a",)).load([])("b") == "a/b"


def test_two_files_of_one_name_do_not_mix(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    (other / "defs.py").write_text("def make():\n    return 'other'\n")
    first, second = (Customized("defs.py", "make").load([place]) for place in (folder, other))
    assert (first(), second()) == (((), {}), "other")


@pytest.mark.parametrize(
    ("customized", "message"),
    [
        (Customized("nowhere.py", "f"), r"^nowhere\.py: no such file; looked in .*"),
        (Customized("/nowhere/x.py", "f"), r"^/nowhere/x\.py: no such file; looked in /nowhere$"),
        (Customized("no_such_module_here", "f"), r"^no_such_module_here: cannot be imported \(ModuleNotFoundError: .*"),
        (Customized("defs.py", "mke"), r"^defs\.py: there is no function 'mke'; did you mean 'make'\?$"),
        (Customized("defs.py", "number"), r"^defs\.py: there is no function 'number'"),
        (Customized("bad.py", "f"), r"bad\.py: cannot be imported \(SyntaxError: .*"),
        (Customized("fails.py", "f"), r"fails\.py: cannot be imported \(RuntimeError: two lines\)$"),
    ],
)
def test_what_cannot_be_loaded(folder: Path, customized: Customized, message: str) -> None:
    (folder / "bad.py").write_text("def f(:\n")
    (folder / "fails.py").write_text("raise RuntimeError('two\\nlines')\n")
    with pytest.raises(ConfigError, match=message):
        customized.load([folder])
