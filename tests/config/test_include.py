"""`include`: the values of another file come before those of the including one."""

from __future__ import annotations

from pathlib import Path

import pytest

from abcrown_graft.config import Config, load_config
from abcrown_graft.errors import ConfigError


def loaded(folder: Path, **texts: str) -> Config:
    """The configuration `row.yaml` among files of these texts."""
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return load_config(folder / "row.yaml")


def refusal(folder: Path, **texts: str) -> str:
    """The message for `row.yaml`, without the folder."""
    with pytest.raises(ConfigError) as error:
        loaded(folder, **texts)
    assert "\n" not in str(error.value)
    return str(error.value).replace(f"{folder}/", "")


COMMON = "data: {start: 1, end: 9, mean: [0.1, 0.2]}\nbab: {timeout: 7}\n"


@pytest.mark.parametrize(
    "row",
    ["include: common.yaml\ndata: {end: 5, mean: [0.5]}\n", "data: {end: 5, mean: [0.5]}\ninclude: common.yaml\n"],
    ids=["first", "last"],
)
def test_the_including_file_wins_key_by_key(tmp_path: Path, row: str) -> None:
    config = loaded(tmp_path, common=COMMON, row=row)
    assert (config["data.start"], config["data.end"], config["bab.timeout"]) == (1, 5, 7)
    assert config["data.mean"] == (0.5,), "a list is one value"


def test_the_file_is_relative_to_the_including_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "common.yaml").write_text(COMMON)
    (tmp_path / "rows" / "row.yaml").write_text("include: ../common.yaml\n")
    monkeypatch.chdir("/")
    assert load_config(tmp_path / "rows" / "row.yaml")["data.end"] == 9


def test_paths_in_the_included_file_mean_what_they_mean_in_the_including_one(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "common.yaml").write_text("pipeline: {output: $CONFIG_PATH/out}\n")
    (tmp_path / "rows" / "row.yaml").write_text("include: ../common.yaml\n")
    assert load_config(tmp_path / "rows" / "row.yaml").path("pipeline.output") == tmp_path / "rows" / "out"


def test_included_files_include(tmp_path: Path) -> None:
    texts = {"top": "data: {start: 1, end: 2}\n", "common": "include: top.yaml\ndata: {end: 3}\n"}
    config = loaded(tmp_path, **texts, row="include: common.yaml\n")
    assert (config["data.start"], config["data.end"]) == (1, 3)


def test_flags_win_over_all(tmp_path: Path) -> None:
    loaded(tmp_path, common=COMMON, row="include: common.yaml\ndata: {end: 5}\n")
    assert load_config(tmp_path / "row.yaml", {"data.end": 3, "data.start": 2})["data.end"] == 3


def test_the_origin_of_a_value_names_both_files(tmp_path: Path) -> None:
    config = loaded(tmp_path, common=COMMON, row="data: {end: 5}\ninclude: common.yaml\n")
    assert config.origin("bab.timeout") == f"{tmp_path}/common.yaml:2 (included by {tmp_path}/row.yaml:2)"
    assert config.origin("data.end") == f"{tmp_path}/row.yaml:1"


def test_the_effective_configuration_includes_nothing(tmp_path: Path) -> None:
    config = loaded(tmp_path, common=COMMON, row="include: common.yaml\n")
    (tmp_path / "written.yaml").write_text(config.to_yaml())
    assert "include:" not in config.to_yaml() and load_config(tmp_path / "written.yaml") == config


BY = "(included by row.yaml:1)"


@pytest.mark.parametrize(
    ("common", "told"),
    [
        ("data: {end: many}\n", f"common.yaml:1 {BY}: data.end: expected an integer, at least 0, got 'many'"),
        ("data: {ende: 3}\n", f"common.yaml:1: unknown key 'data.ende'; did you mean 'data.end'? {BY}"),
        ("data: [\n", f"common.yaml:2: not valid YAML: expected the node content, but found '<stream end>' {BY}"),
        ("", f"common.yaml: the file is empty; expected sections such as 'model:' and 'data:' {BY}"),
        ("include: row.yaml\n", f"common.yaml:1: include: row.yaml includes itself; remove one of the includes {BY}"),
        ("include: no.yaml\n", f"no.yaml: no such file (included by common.yaml:1) {BY}"),
    ],
)
def test_errors_name_both_files(tmp_path: Path, common: str, told: str) -> None:
    assert refusal(tmp_path, common=common, row="include: common.yaml\n").startswith(told)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("include: row.yaml\n", "row.yaml:1: include: row.yaml includes itself"),
        ("include: ../{folder}/row.yaml\n", "row.yaml:1: include: ../{folder}/row.yaml includes itself"),
        ("include:\n", "row.yaml:1: include: expected the name of a YAML file, got nothing"),
        ("include: [a.yaml]\n", "row.yaml:1: include: expected the name of a YAML file, got ['a.yaml']"),
        ("include: 5\n", "row.yaml:1: include: expected the name of a YAML file, got 5"),
        ("include: a.yaml\ninclude: b.yaml\n", "row.yaml:2: key 'include' is given twice"),
        ("data: {include: a.yaml}\n", "row.yaml:1: unknown key 'data.include'"),
    ],
)
def test_wrong_includes(tmp_path: Path, row: str, told: str) -> None:
    row, told = (text.replace("{folder}", tmp_path.name) for text in (row, told))
    assert refusal(tmp_path, row=row).startswith(told)
