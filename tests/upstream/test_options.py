"""Keys, flags, defaults and choices against an α,β-CROWN checkout, which ABCROWN_HOME names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from abcrown_graft.config import SCHEMA, load_config
from abcrown_graft.config.flags import Parser, add_flags, values_from

HOME = os.environ.get("ABCROWN_HOME")
pytestmark = pytest.mark.skipif(not HOME, reason="ABCROWN_HOME names no α,β-CROWN checkout")

# Runs in a process of its own: it imports α,β-CROWN's parser and lists its public options.
LIST_OPTIONS = """
import json, sys
sys.path.insert(0, sys.argv[1])
from arguments import Config
rows = []
for action in Config.defaults_parser._actions:
    keys = Config.config_file_hierarchies.get(action.dest)
    if keys and ",".join(keys) in Config.help_messages:
        choices = list(action.choices) if action.choices else None
        rows.append([".".join(keys), action.option_strings[-1], action.default, choices, action.nargs])
print(json.dumps(rows))
"""


@pytest.fixture(scope="module")
def rows() -> list[tuple[str, str, Any, list[str] | None, Any]]:
    """(key, flag, default, choices, nargs) of every public option."""
    command = [sys.executable, "-c", LIST_OPTIONS, str(Path(HOME or "") / "complete_verifier")]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def test_no_option_is_missing(rows: list[Any]) -> None:
    assert len(rows) > 250
    assert [row[0] for row in rows if row[0] not in SCHEMA] == []


def test_no_option_is_invented(rows: list[Any]) -> None:
    about_it = {"general.abcrown_path", "general.abcrown_log", "general.allow_unsound"}
    passed_on = {option.key for option in SCHEMA.values() if option.passed_on} - about_it
    assert passed_on - {row[0] for row in rows} == set()


def test_flags_and_defaults(rows: list[Any]) -> None:
    as_there = [(key, flag, tuple(value) if isinstance(value, list) else value) for key, flag, value, *_ in rows]
    assert [(key, SCHEMA[key].flag, SCHEMA[key].default) for key, *_ in as_there] == as_there


def test_choices(rows: list[Any]) -> None:
    for key, _, _, choices, _ in rows:
        assert set(choices or ()) <= set(SCHEMA[key].choices or ()), key
        assert bool(choices) == bool(SCHEMA[key].choices), key


def test_flags_take_as_many_words(rows: list[Any]) -> None:
    for key, _, _, _, nargs in rows:
        assert SCHEMA[key].is_switch == (nargs == 0), key
        assert SCHEMA[key].kind.listed == (nargs in ("+", "*")), key


def test_defaults_can_be_given_as_flags(rows: list[Any]) -> None:
    for key, flag, default, _, nargs in rows:
        if default is None or default == "" or nargs == 0:
            continue
        words = [str(word) for word in default] if isinstance(default, list) else [str(default)]
        parser = Parser()
        add_flags(parser, [SCHEMA[key]])
        given = values_from(parser.parse_args([f"{flag}={words[0]}"] if nargs is None else [flag, *words]))[key]
        assert given in (SCHEMA[key].default, (SCHEMA[key].default,)), key


def test_its_experiments_load() -> None:
    files = sorted((Path(HOME or "") / "complete_verifier" / "exp_configs").rglob("*.yaml"))
    if not files:
        pytest.skip("the checkout has no exp_configs")
    for file in files:
        written = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert set(load_config(file).origins) == set(keys(written)), file


def keys(written: Mapping[str, Any], section: str = "") -> Iterator[str]:
    """The keys of options that a file sets."""
    for name, value in written.items():
        if isinstance(value, dict) and section + name not in SCHEMA:
            yield from keys(value, f"{section}{name}.")
        else:
            yield section + name
