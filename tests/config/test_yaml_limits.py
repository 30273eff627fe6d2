"""A configuration of any nesting, size or number of aliases is read, or refused with its line, soon."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from abcrown_graft.config.load import load_config
from abcrown_graft.config.yaml_file import MAX_INCLUDES
from abcrown_graft.config.yaml_limits import MAX_DEPTH
from abcrown_graft.errors import ConfigError


def bomb(levels: int, merge: bool = False) -> str:
    """Each level stands ten times for the one before; the last level is in the configuration."""
    ten = "{{<<: [{0}]}}" if merge else "[{0}]"
    first = "&a0 {x: 1}" if merge else "&a0 [1]"
    lines = [f"  - &a{k} " + ten.format(", ".join([f"*a{k - 1}"] * 10)) for k in range(1, levels)]
    return "data:\n  mean:\n  - " + "\n".join([first, *lines]) + "\n"


def refusal(folder: Path, text: str) -> str:
    (folder / "a.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(folder / "a.yaml")
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"{folder}/")


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 900, 100_000])
def test_brackets_in_brackets(tmp_path: Path, depth: int) -> None:
    told = refusal(tmp_path, "# first\ndata:\n  mean: " + "[" * depth + "]" * depth)
    assert told == f"a.yaml:3: not valid YAML: nested more than {MAX_DEPTH} deep"


@pytest.mark.parametrize("merge", [False, True], ids=["lists", "merge keys"])
def test_aliases_that_stand_for_billions_of_values(tmp_path: Path, merge: bool) -> None:
    assert "more than 1000000 values, aliases written out" in refusal(tmp_path, bomb(12, merge))


@pytest.mark.parametrize("value", ["&a [*a]", "&a {b: *a}", "[1, &a [2, {b: [*a]}]]", "&a {<<: *a}"])
def test_a_value_that_holds_itself(tmp_path: Path, value: str) -> None:
    assert refusal(tmp_path, f"data:\n  mean: {value}\n").startswith("a.yaml:2: this value holds itself by an alias")


def test_aliases_are_taken_where_they_are_few(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("data: {mean: &m [0.1, 0.2], std: *m}\n")
    assert load_config(tmp_path / "a.yaml")["data.std"] == (0.1, 0.2)


def test_a_long_list_is_no_bomb(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"data: {{select_instance: {list(range(3000))}}}\n")
    assert len(load_config(tmp_path / "a.yaml")["data.select_instance"]) == 3000


def test_a_sparse_file_of_any_size(tmp_path: Path) -> None:
    with (tmp_path / "big.yaml").open("wb") as file:
        file.truncate(2**40)
    assert "big.yaml: larger than 16 MiB, which no configuration is" in refusal(tmp_path, "include: big.yaml\n")


def test_includes_of_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, kind in (("/dev/zero", "a device"), ("pipe", "a pipe"), (".", "a folder")):
        told = refusal(tmp_path, f"# first\ninclude: {name}\n")
        assert f"cannot be read (this is {kind}" in told and "(included by" in told and "a.yaml:2)" in told


def test_a_long_chain_of_includes(tmp_path: Path) -> None:
    for k in range(1000):
        (tmp_path / f"{k}.yaml").write_text(f"include: {k + 1}.yaml\n")
    assert f"more than {MAX_INCLUDES} files include one another" in refusal(tmp_path, "include: 0.yaml\n")
    (tmp_path / f"{MAX_INCLUDES - 1}.yaml").write_text("data: {end: 3}\n")
    assert load_config(tmp_path / "a.yaml")["data.end"] == 3
