"""`abcrown-graft doctor`: what is here, and what each missing piece costs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from command_line import run_main
from fake_abcrown import lirpa_folder, verifier_folder

from abcrown_graft import __version__
from abcrown_graft.cli import doctor as module
from abcrown_graft.cli.doctor import diagnose
from abcrown_graft.cli.tools import main
from abcrown_graft.config.load import load_config
from abcrown_graft.engines.abcrown import locate

PIECES = ["abcrown-graft", "Python", "torch", "α,β-CROWN", "Gurobi", "HiGHS", "onnxruntime", "matplotlib", "data"]


def rows(**changed: object) -> dict[str, module.Row]:
    """The diagnosis, by piece."""
    values = {key.replace("__", "."): value for key, value in changed.items()}
    return {row.piece: row for row in diagnose(load_config(None, values))}


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Makes packages impossible to import."""
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


def test_the_command_prints_a_table_and_is_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = run_main(main, "doctor", "--data_dir", "nowhere")
    assert (found.code, found.err) == (0, "")
    for words in (*PIECES, f"{__version__} in ", "no folder nowhere (--data_dir)", "installation guide"):
        assert words in found.out, words
    assert list(tmp_path.iterdir()) == []


def test_every_piece_has_one_row_in_order() -> None:
    assert list(rows()) == PIECES


def test_alpha_beta_crown_is_shown_with_its_auto_lirpa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "REQUIRED", ())
    home = verifier_folder(tmp_path)
    lirpa_folder(tmp_path / "auto_LiRPA", "0.7.0")
    found = rows(general__abcrown_path=str(home))
    assert found["α,β-CROWN"].found == f"0.7.0 in {home / 'complete_verifier'} (general.abcrown_path {home})"
    assert found["α,β-CROWN"].cost is None
    assert found["auto_LiRPA"].cost == "auto_LiRPA 0.7.0 is older than 0.7.1: linear programs are refused"


def test_what_alpha_beta_crown_lacks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "REQUIRED", ("no_such_package",))
    found = rows(general__abcrown_path=str(verifier_folder(tmp_path)))
    assert "no_such_package" in found["α,β-CROWN"].cost and found["auto_LiRPA"].found == "missing"
    assert not any(row.fatal for row in found.values())


def test_a_wrong_folder_is_told(tmp_path: Path) -> None:
    found = rows(general__abcrown_path=str(tmp_path))["α,β-CROWN"]
    assert found.found == f"not in general.abcrown_path {tmp_path}" and "holds no complete_verifier" in found.cost


def test_missing_extras_cost_what_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "gurobipy", "onnxruntime", "matplotlib")
    found = rows()
    assert {found[name].found for name in ("Gurobi", "onnxruntime", "matplotlib")} == {"missing"}
    assert "HiGHS" in found["Gurobi"].cost and found["matplotlib"].cost == "plots"
    assert found["onnxruntime"].cost.startswith("ONNX files cannot be verified")
    assert run_main(main, "doctor").code == 0


@pytest.mark.parametrize("name", ("torch", "scipy", "safetensors"))
def test_without_a_requirement_nothing_works(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    without(monkeypatch, name)
    found = run_main(main, "doctor")
    assert found.code == 1 and "missing" in found.out


def test_a_package_that_fails_to_import_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> object:
        raise OSError("libsomething.so: cannot open shared object file")

    assert module._module("torch", load) is None


def test_the_data_folder_is_shown(tmp_path: Path) -> None:
    row = rows(data__data_dir=str(tmp_path))["data"]
    assert (row.found, row.cost) == (str(tmp_path), None)
