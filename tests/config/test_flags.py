"""Flags: α,β-CROWN's names, exact, with one-line complaints."""

from __future__ import annotations

import math
from typing import Any

import pytest

from abcrown_graft.config import SCHEMA
from abcrown_graft.config.flags import Parser, add_flags, values_from
from abcrown_graft.errors import ConfigError


def parser() -> Parser:
    made = Parser(prog="abcrown")
    made.add_argument("--config")
    add_flags(made, SCHEMA.values())
    return made


def values(*words: str) -> dict[str, Any]:
    return values_from(parser().parse_args(list(words)))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {}),
        (["--config", "a.yaml"], {}),
        (["--start", "3", "--end=7"], {"data.start": 3, "data.end": 7}),
        (["--mean", "0.1", "0.2", "3e-1", "--std", "1"], {"data.mean": (0.1, 0.2, 0.3), "data.std": (1.0,)}),
        (["--input_shape", "-1", "3", "32", "32"], {"model.input_shape": (-1, 3, 32, 32)}),
        (["--no_incomplete"], {"general.enable_incomplete_verification": False}),
        (["--double_fp", "--no_progress"], {"general.double_fp": True, "general.progress": False}),
        (["--freeze_weights", "--tune_lr", "1e-4"], {"tune.freeze_weights": True, "tune.lr": 1e-4}),
        (["--norm", "inf"], {"specification.norm": math.inf}),
        (["--load_model", "w.pt", "--model", "cnn_a"], {"model.name": "cnn_a", "model.path": "w.pt"}),
        (["--init_iteration", "20"], {"solver.alpha-crown.iteration": 20}),
        (["--apply_output_constraints_to"], {"solver.invprop.apply_output_constraints_to": ()}),
        (["--decision_thresh=-1e-5"], {"bab.decision_thresh": -1e-5}),
    ],
)
def test_flags_that_are_given(words: list[str], expected: dict[str, Any]) -> None:
    assert values(*words) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--bach_size", "3"], "unknown flag --bach_size; did you mean --batch_size?"),
        (["--confg=3"], "unknown flag --confg; did you mean --config?"),
        (["--batch", "3"], "unknown flag --batch; did you mean --batch_size?"),
        (["--qqqqqqqqqqqqqqqq"], "unknown flag --qqqqqqqqqqqqqqqq; see --help"),
        (["a.yaml"], "unexpected argument 'a.yaml'; see --help"),
        (["--batch_size"], "flag --batch_size: expected one argument"),
        (["--mean"], "flag --mean: expected at least one argument"),
        (["--batch_size", "x"], "flag --batch_size: solver.batch_size: expected an integer, at least 1, got 'x'"),
        (["--engine", "x"], "flag --engine: general.engine: expected one of auto, native, abcrown, got 'x'"),
        (["--std", "1", "0"], "flag --std: data.std: expected a number or a list of numbers, above 0, got ['1', '0']"),
    ],
)
def test_wrong_flags(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError) as error:
        values(*words)
    assert str(error.value) == message
    assert capsys.readouterr() == ("", "")


def test_a_subcommand_answers_with_its_own_flags() -> None:
    top = Parser(prog="tools")
    commands = top.add_subparsers(dest="command", required=True)
    add_flags(commands.add_parser("mask"), [option for option in SCHEMA.values() if option.section == "mask"])
    assert values_from(top.parse_args(["mask", "--mask_ratio", "0.8"])) == {"mask.ratio": 0.8}
    with pytest.raises(ConfigError, match=r"^unknown flag --mask_rato; did you mean --mask_ratio\?$"):
        top.parse_args(["mask", "--mask_rato", "1"])
    with pytest.raises(ConfigError, match="invalid choice: 'msk'"):
        top.parse_args(["msk"])


def shown(flag: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        parser().parse_args([flag])
    assert end.value.code == 0
    return " ".join(capsys.readouterr().out.split())


def test_help_shows_defaults_and_choices_of_what_is_implemented_here(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown("--help", capsys)
    assert "--batch_size N Images, and subproblems of one image, bounded at once. (default 64)" in text
    assert "(one of test, train; default test)" in text
    assert "or $ABCROWN_GRAFT_DATA" in text
    assert "--conv_mode" not in text


def test_help_all_shows_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown("--help_all", capsys)
    assert all(f" {option.flag} " in text for option in SCHEMA.values())
