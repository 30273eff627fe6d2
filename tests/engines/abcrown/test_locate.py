"""Where α,β-CROWN and auto_LiRPA are looked for, in which order, and what is said of what is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fake_abcrown import lirpa_folder, verifier_folder

from abcrown_graft.engines.abcrown import locate
from abcrown_graft.engines.abcrown.locate import GUIDE, Part, older, search
from abcrown_graft.errors import EngineError


@pytest.fixture(autouse=True)
def no_requirements(monkeypatch: pytest.MonkeyPatch) -> None:
    """What α,β-CROWN itself needs is not installed where these tests run."""
    monkeypatch.setattr(locate, "REQUIRED", ())


def both(folder: Path, version: str | None = "0.7.0", lirpa: str | None = "0.7.1") -> dict[str, str]:
    """An environment that names one of each."""
    verifier, other = verifier_folder(folder / "verifier", version), lirpa_folder(folder / "lirpa", lirpa)
    return {"ABCROWN_HOME": str(verifier), "AUTO_LIRPA_HOME": str(other)}


def test_without_any_nothing_is_found() -> None:
    found = search(None, {})
    assert found.nothing and found.verifier == Part()
    with pytest.raises(
        EngineError, match=r"^no α,β-CROWN found \(.*ABCROWN_HOME.*\); its installation guide: https://"
    ):
        found.require()


def test_both_are_found_through_their_variables(tmp_path: Path) -> None:
    environment = both(tmp_path)
    found = search(None, environment).require()
    assert found.verifier == Part(
        tmp_path / "verifier" / "complete_verifier", "0.7.0", f"ABCROWN_HOME {environment['ABCROWN_HOME']}"
    )
    assert found.lirpa == Part(tmp_path / "lirpa", "0.7.1", f"AUTO_LIRPA_HOME {environment['AUTO_LIRPA_HOME']}")
    assert found.warning is None and not found.nothing


def test_the_configured_path_comes_first(tmp_path: Path) -> None:
    environment = both(tmp_path)
    other = verifier_folder(tmp_path / "other", "0.8.1")
    found = search(other, environment)
    assert found.verifier.version == "0.8.1" and found.verifier.source == f"general.abcrown_path {other}"


def test_the_folder_of_the_modules_is_as_good_as_the_checkout(tmp_path: Path) -> None:
    environment = both(tmp_path)
    inner = {name: str(Path(place) / package) for (name, place), package in zip(
        environment.items(), ("complete_verifier", "auto_LiRPA"), strict=True
    )}  # fmt: skip
    found = search(None, inner).require()
    assert found.verifier.folder == tmp_path / "verifier" / "complete_verifier"
    assert found.lirpa.folder == tmp_path / "lirpa"


@pytest.mark.parametrize("place", ("verifier/auto_LiRPA", "verifier/complete_verifier"))
def test_a_checkouts_own_auto_lirpa_is_taken(tmp_path: Path, place: str) -> None:
    home = verifier_folder(tmp_path / "verifier")
    lirpa_folder(tmp_path / place)
    found = search(None, {"ABCROWN_HOME": str(home)}).require()
    assert found.lirpa == Part(tmp_path / place, "0.7.1", "α,β-CROWN's own copy")


def test_an_empty_submodule_is_told(tmp_path: Path) -> None:
    home = verifier_folder(tmp_path / "verifier")
    (home / "auto_LiRPA").mkdir()
    found = search(None, {"ABCROWN_HOME": str(home)})
    assert found.problems == ["no auto_LiRPA found (AUTO_LIRPA_HOME, α,β-CROWN's submodule, an installed package)"]


def test_an_installed_package_is_found_and_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verifier_folder(tmp_path)
    lirpa_folder(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    found = search(None, {}).require()
    assert found.verifier == Part(tmp_path / "complete_verifier", "0.7.0", "installed package complete_verifier")
    assert "complete_verifier" not in sys.modules


def test_a_folder_that_is_named_after_it_is_not_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "abcrown").mkdir()
    (tmp_path / "abcrown" / "readme.txt").write_text("notes")
    monkeypatch.syspath_prepend(tmp_path)
    assert search(None, {}).nothing


def test_a_wrong_place_is_an_error_and_no_other_is_tried(tmp_path: Path) -> None:
    environment = both(tmp_path)
    found = search(tmp_path / "nowhere", environment)
    assert not found.nothing
    with pytest.raises(EngineError, match=r"^general\.abcrown_path .*nowhere holds no complete_verifier/abcrown\.py; "):
        found.require()
    wrong = {**environment, "AUTO_LIRPA_HOME": str(tmp_path)}
    assert search(None, wrong).problems == [f"AUTO_LIRPA_HOME {tmp_path} holds no auto_LiRPA"]


@pytest.mark.parametrize("version", ("0.6.9", "0.5", None))
def test_old_releases_are_refused(tmp_path: Path, version: str | None) -> None:
    environment = both(tmp_path, version, version)
    told = "; ".join(search(None, environment).problems)
    assert told.count("is older than 0.7") == 2 and (version or "unknown version") in told


@pytest.mark.parametrize(("version", "warned"), [("0.7.0", True), ("0.7", True), ("0.7.1", False), ("0.10", False)])
def test_auto_lirpa_with_wrong_linear_programs_is_warned_of(tmp_path: Path, version: str, warned: bool) -> None:
    warning = search(None, both(tmp_path, lirpa=version)).require().warning
    assert (warning is not None) == warned
    assert not warned or f"auto_LiRPA {version} is older than 0.7.1" in str(warning)


def test_one_message_says_all_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "REQUIRED", ("json", "no_such_package", "nor_this"))
    home = verifier_folder(tmp_path / "verifier", "0.6")
    with pytest.raises(EngineError) as error:
        search(None, {"ABCROWN_HOME": str(home)}).require()
    message = str(error.value)
    assert "0.6 in" in message and "no auto_LiRPA" in message
    assert "missing: no_such_package, nor_this; " in message and message.endswith(GUIDE)


def test_versions_are_compared_by_their_numbers() -> None:
    assert older("0.7", "0.7.1") and older("0.9.9", "0.10") and older("0.7.0+cpu", "0.7.1")
    assert not older("0.7.1", "0.7.1") and not older("1", "0.7.1") and older("", "0.7")


def test_looking_imports_nothing_heavy() -> None:
    program = (
        "import sys; from abcrown_graft.engines.abcrown.locate import search; search();"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'onnx', 'pandas', 'gurobipy'}))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
