"""Which engine runs: the one asked for, or what `auto` finds to be able to do all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_abcrown import lirpa_folder, verifier_folder

from abcrown_graft.config.config import Config
from abcrown_graft.config.experiments import installed_configs
from abcrown_graft.config.load import load_config
from abcrown_graft.engines.abcrown import locate
from abcrown_graft.engines.abcrown.guards import Circumstances, check_guards
from abcrown_graft.engines.choose import Choice, choose_engine
from abcrown_graft.errors import EngineError, UnsupportedError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A complete α,β-CROWN that ABCROWN_HOME names."""
    monkeypatch.setattr(locate, "REQUIRED", ())
    lirpa_folder(tmp_path / "auto_LiRPA")
    monkeypatch.setenv("ABCROWN_HOME", str(tmp_path))
    return verifier_folder(tmp_path)


def config(engine: str = "auto", **changed: Any) -> Config:
    values = {key.replace("__", "."): value for key, value in changed.items()}
    return load_config(None, {"general.engine": engine, **values})


@pytest.mark.parametrize("engine", ("auto", "native"))
def test_without_alpha_beta_crown_the_native_engine_runs_as_ever(engine: str) -> None:
    choice = choose_engine(config(engine))
    assert choice == Choice("native") and choice.lines == []


def test_auto_takes_alpha_beta_crown_and_says_so(home: Path) -> None:
    choice = choose_engine(config())
    assert choice.name == "abcrown" and choice.found.verifier.folder == home / "complete_verifier"
    assert choice.lines == [f"engine: abcrown (auto: α,β-CROWN 0.7.0 from ABCROWN_HOME {home})"]


def test_native_asked_for_is_native(home: Path) -> None:
    assert choose_engine(config("native")) == Choice("native")


def test_alpha_beta_crown_asked_for_is_taken_without_reasons(home: Path) -> None:
    choice = choose_engine(config("abcrown", bab__branching__method="fsb"))
    assert choice.name == "abcrown" and choice.lines == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"debug__test_core": True}, "debug.test_core = true is not implemented by the abcrown engine"),
        ({"specification__robustness_type": "clean-acc"}, "it has no such property"),
        ({"bab__branching__method": "babsr"}, "it fails in release 0.7.0"),
        ({"solver__mip__mip_solver": "highs"}, "it knows Gurobi and SCIP"),
    ],
)
def test_auto_leaves_to_the_native_engine_what_alpha_beta_crown_does_not_do(
    home: Path, changed: dict[str, Any], told: str
) -> None:
    choice = choose_engine(config(**changed))
    assert choice.name == "native" and choice.found is None
    (line,) = choice.lines
    assert line.startswith("engine: native (auto, not α,β-CROWN: ") and told in line
    with pytest.raises(UnsupportedError, match=told.replace(".", r"\.")):
        choose_engine(config("abcrown", **changed))


def test_auto_leaves_an_incomplete_one_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "REQUIRED", ("no_such_package",))
    choice = choose_engine(config())
    assert choice.name == "native" and "missing: no_such_package" in choice.lines[0]
    with pytest.raises(
        EngineError, match=r"general\.engine: abcrown is not available: .*no_such_package.* --engine native$"
    ):
        choose_engine(config("abcrown"))


def test_what_neither_engine_does_is_told_of_both(home: Path) -> None:
    with pytest.raises(UnsupportedError) as error:
        choose_engine(config(data__pkl_path="a.pkl"))
    assert "pkl_path = 'a.pkl' is not implemented by the native engine" in str(error.value)
    assert "auto does not take α,β-CROWN either: " in str(error.value)


def test_a_folder_that_was_named_wrongly_is_an_error_even_for_auto(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"general\.abcrown_path .* holds no complete_verifier/abcrown\.py"):
        choose_engine(config(general__abcrown_path=str(tmp_path)))


def test_a_variable_that_is_wrong_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABCROWN_HOME", str(tmp_path))
    assert f"ABCROWN_HOME {tmp_path} holds no" in choose_engine(config()).lines[0]


@pytest.mark.parametrize("engine", ("auto", "native"))
def test_what_is_said_about_alpha_beta_crown_does_not_stop_the_native_engine(home: Path, engine: str) -> None:
    about = {"general__abcrown_path": str(home), "general__abcrown_log": "a.log", "general__allow_unsound": True}
    assert choose_engine(config(engine, **about, debug__test_core=True)).name == "native"


def test_an_older_auto_lirpa_is_warned_of(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = lirpa_folder(home / "old", "0.7.0")
    monkeypatch.setenv("AUTO_LIRPA_HOME", str(old))
    lines = choose_engine(config("abcrown")).lines
    assert lines == ["warning: auto_LiRPA 0.7.0 is older than 0.7.1: linear programs are refused"]
    with pytest.raises(UnsupportedError, match=r"before 0\.7\.1"):
        choose_engine(config("abcrown", **{"solver__beta-crown__all_node_split_LP": True}))


@pytest.mark.parametrize("file", installed_configs(), ids=lambda file: file.stem)
def test_every_installed_experiment_runs_on_both(home: Path, file: Path) -> None:
    for engine in ("abcrown", "native"):
        config = load_config(file, {"general.engine": engine})
        assert choose_engine(config).name == engine
        check_guards(config, Circumstances(grafted=True))
