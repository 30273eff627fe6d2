"""`abcrown-graft`: its subcommands and what their command lines take."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import run_main

from abcrown_graft import __version__
from abcrown_graft.cli import tools
from abcrown_graft.cli.commands import COMMANDS
from abcrown_graft.cli.tools import build_parser, main
from abcrown_graft.config.config import Config
from abcrown_graft.config.schema import SCHEMA

STAGES = (
    "train",
    "instability",
    "merge",
    "significance",
    "mask",
    "tune",
    "evaluate",
    "export",
    "report",
    "run",
    "doctor",
)
SECTIONS = {
    "train": "train",
    "significance": "significance",
    "mask": "mask",
    "tune": "tune",
    "evaluate": "evaluate",
    "export": "export",
}


def help_of(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit:
        main([*words, "--help"])
    assert exit.value.code == 0
    return capsys.readouterr().out


def test_the_help_lists_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(help_of(capsys=capsys).split())
    assert tuple(COMMANDS) == STAGES
    for name, command in COMMANDS.items():
        assert f"{name} {command.help}" in text


@pytest.mark.parametrize("stage", STAGES)
def test_the_help_of_a_stage_says_what_it_does(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(stage, capsys=capsys)
    assert f"usage: abcrown-graft {stage}" in text and COMMANDS[stage].help in " ".join(text.split())


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["--version"])
    assert exit.value.code == 0
    assert capsys.readouterr().out == f"abcrown-graft {__version__}\n"


@pytest.mark.parametrize("stage", STAGES)
def test_every_prefix_of_a_stage_means_some_option(stage: str) -> None:
    for prefix in COMMANDS[stage].options:
        assert any(key.startswith(prefix) for key in SCHEMA), prefix


@pytest.mark.parametrize(("stage", "section"), SECTIONS.items())
def test_a_stage_takes_all_flags_of_its_own_section(
    stage: str, section: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(stage, capsys=capsys)
    flags = [option.flag for option in SCHEMA.values() if option.section == section]
    assert flags and all(flag in text for flag in flags)


def test_run_takes_the_flags_of_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of("run", capsys=capsys)
    stage_options = [option for option in SCHEMA.values() if not option.of_engine and option.section != "export"]
    assert len(stage_options) > 40
    assert all(option.flag in text for option in stage_options)


def test_no_stage_shows_flags_that_only_alpha_beta_crown_implements(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--csv_name" not in help_of("run", capsys=capsys)


def test_options_take_precedence_over_the_file_of_a_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    spy = replace(COMMANDS["evaluate"], run=lambda config, arguments: seen.append(config) or 0)
    monkeypatch.setitem(tools.COMMANDS, "evaluate", spy)
    (tmp_path / "a.yaml").write_text("evaluate: {limit: 5, pgd_steps: 7}\n")
    assert main(["evaluate", "--config", str(tmp_path / "a.yaml"), "--evaluate_limit", "9"]) == 0
    (config,) = seen
    assert (config["evaluate.limit"], config["evaluate.pgd_steps"]) == (9, 7)
    assert config.file == tmp_path / "a.yaml"


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[Config], list[int]]]:
    """What `run` is given instead of running."""
    seen: list[tuple[list[Config], list[int]]] = []

    def spy(configs: list[Config], arguments: argparse.Namespace) -> int:
        seen.append((configs, arguments.seeds))
        return 0

    monkeypatch.setitem(tools.COMMANDS, "run", replace(COMMANDS["run"], run=spy))
    return seen


def test_run_takes_several_files_and_folders_of_them(tmp_path: Path, ran: list[tuple[list[Config], list[int]]]) -> None:
    (tmp_path / "rows").mkdir()
    for name in ("c", "rows/b", "rows/a"):
        (tmp_path / f"{name}.yaml").write_text("data: {end: 5}\n")
    words = (tmp_path / "c.yaml", tmp_path / "rows", "--config", tmp_path / "c.yaml", "--seeds", 7, 8, "--start", 2)
    assert run_main(main, "run", *words).code == 0
    ((configs, seeds),) = ran
    assert [config.file for config in configs if config.file] == [
        tmp_path / name for name in ("c.yaml", "rows/a.yaml", "rows/b.yaml", "c.yaml")
    ]
    assert {(config["data.start"], config["data.end"]) for config in configs} == {(2, 5)} and seeds == [7, 8]


@pytest.mark.parametrize("wrong", ["data: {ende: 5}\n", None])
def test_run_reads_all_files_before_the_first_is_run(
    tmp_path: Path, ran: list[tuple[list[Config], list[int]]], wrong: str | None
) -> None:
    (tmp_path / "a.yaml").write_text("data: {end: 5}\n")
    if wrong is not None:
        (tmp_path / "b.yaml").write_text(wrong)
    found = run_main(main, "run", tmp_path / "a.yaml", tmp_path / "b.yaml")
    assert found.code == 2 and "b.yaml" in found.err and found.err.count("\n") == 1 and not ran


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "no stage given; choose one of train, instability"),
        (("trian",), "invalid choice: 'trian'"),
        (("train", "--train_epoch", "3"), "unknown flag --train_epoch; did you mean --train_epochs?"),
        (("train", "extra"), "unexpected argument 'extra'"),
        (("train", "--train_epochs", "many"), "flag --train_epochs: train.epochs: expected an integer"),
        (("run",), "no configuration: abcrown-graft run FILE.yaml"),
        (("run", "--seeds", "a"), "flag --seeds: invalid int value: 'a'"),
        (("report",), "the following arguments are required: RUN"),
        (("merge",), "the following arguments are required: DUMP"),
        (("merge", "a.safetensors"), "give --instability_dump FILE"),
        (("mask", "--config", "nowhere.yaml"), "nowhere.yaml: no such file"),
    ],
)
def test_wrong_words_are_one_line(words: tuple[str, ...], told: str) -> None:
    found = run_main(main, *words)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith("error: ") and found.err.count("\n") == 1
    assert told in found.err


def test_a_script_is_its_stage_with_the_words_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools.sys, "argv", ["scripts/merge.py", "nowhere.safetensors", "--instability_dump", "x"])
    found = run_main(lambda words: tools.stage_main("merge"))
    assert (found.code, found.err) == (2, "error: nowhere.safetensors: no such file\n")


def test_a_parser_is_made_anew_each_time() -> None:
    assert build_parser() is not build_parser()
