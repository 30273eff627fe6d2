"""Experiments are found as files, or by name among the installed ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from abcrown_graft.config import experiments
from abcrown_graft.config.experiments import find_config, find_configs, installed_configs
from abcrown_graft.errors import ConfigError


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed experiments, and another current folder."""
    folder = tmp_path / "installed"
    folder.mkdir()
    for name in ("cnna_cifar.yaml", "cnna_mnist.yaml", "__init__.py"):
        (folder / name).touch()
    (folder / "tables" / "small").mkdir(parents=True)
    for name in ("graft50.yaml", "baseline.yaml", "notes.txt"):
        (folder / "tables" / "small" / name).touch()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(experiments, "files", lambda package: folder)
    return folder


def test_the_package_of_experiments_can_be_listed() -> None:
    assert all(path.suffix == ".yaml" and path.is_file() for path in installed_configs())


def test_lists_yaml_files_only(installed: Path) -> None:
    names = [path.relative_to(installed).as_posix() for path in installed_configs()]
    assert names == ["cnna_cifar.yaml", "cnna_mnist.yaml", "tables/small/baseline.yaml", "tables/small/graft50.yaml"]


@pytest.mark.parametrize("name", ["exp_configs/tables/small/graft50.yaml", "tables/small/graft50"])
def test_those_of_a_folder_are_found_by_folder_and_name(installed: Path, name: str) -> None:
    assert find_config(name) == installed / "tables" / "small" / "graft50.yaml"
    assert find_configs(name) == [installed / "tables" / "small" / "graft50.yaml"]


@pytest.mark.parametrize("name", ["exp_configs/tables/small", "tables/small", "./tables/small/"])
def test_a_folder_means_its_files_in_order(installed: Path, name: str) -> None:
    assert find_configs(name) == [installed / "tables" / "small" / f"{row}.yaml" for row in ("baseline", "graft50")]


def test_a_folder_here_goes_first(installed: Path) -> None:
    Path("tables/small").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"^tables/small: this folder holds no YAML file$"):
        find_configs("tables/small")
    Path("tables/small/mine.yaml").touch()
    assert find_configs("tables/small") == [Path("tables/small/mine.yaml")]


def test_the_nearest_name_in_a_folder_is_told(installed: Path) -> None:
    with pytest.raises(ConfigError, match=r"did you mean exp_configs/tables/small/graft50\.yaml\?$"):
        find_configs("exp_configs/tables/small/graft5.yaml")


@pytest.mark.parametrize(
    "name", ["exp_configs/cnna_cifar.yaml", "./exp_configs/cnna_cifar", "cnna_cifar.yaml", "cnna_cifar"]
)
def test_finds_installed_experiments_by_name(installed: Path, name: str) -> None:
    assert find_config(name) == installed / "cnna_cifar.yaml"


def test_an_existing_file_goes_first(installed: Path) -> None:
    Path("cnna_cifar.yaml").touch()
    assert find_config("cnna_cifar.yaml") == Path("cnna_cifar.yaml")


def test_missing(installed: Path) -> None:
    with pytest.raises(ConfigError) as error:
        find_config("exp_configs/cnna_cifr.yaml")
    assert str(error.value) == (
        f"exp_configs/cnna_cifr.yaml: no such file here ({Path.cwd()}) nor among the installed {installed}; "
        "did you mean exp_configs/cnna_cifar.yaml?"
    )
    with pytest.raises(ConfigError, match=r"^other/cnna_cifar\.yaml: no such file"):
        find_config("other/cnna_cifar.yaml")


def test_a_folder_is_no_configuration(installed: Path) -> None:
    with pytest.raises(ConfigError, match="this is a folder"):
        find_config(str(installed))
