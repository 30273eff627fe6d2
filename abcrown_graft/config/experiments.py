"""The YAML experiments that are installed with the package, found by name from any folder."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from abcrown_graft.errors import ConfigError
from abcrown_graft.registry import nearest

_PACKAGE = "abcrown_graft.exp_configs"
_FOLDER = "exp_configs"


def installed_configs() -> list[Path]:
    """The installed YAML files in alphabetical order, those of sub-folders too."""
    return sorted(Path(str(files(_PACKAGE))).rglob("*.yaml"))


def find_configs(path: str) -> list[Path]:
    """The YAML files of the folder that `path` means, here or among the installed ones, in alphabetical order.

    If it means none, the one file that `find_config` finds.

    Raises:
        ConfigError: the folder has no YAML file, or see `find_config`.
    """
    given = Path(path)
    installed = Path(str(files(_PACKAGE))) / _installed_name(given)
    folder = next((folder for folder in (given, installed) if folder.is_dir()), None)
    if folder is None or given.is_file():
        return [find_config(path)]
    found = sorted(folder.glob("*.yaml"))
    if not found:
        raise ConfigError(f"{path}: this folder holds no YAML file")
    return found


def _installed_name(given: Path) -> str:
    return given.as_posix().removeprefix(_FOLDER + "/")


def find_config(path: str) -> Path:
    """The YAML file that `path` means.

    That is an existing file as it is; otherwise the installed experiment of that name, which may be written as
    `exp_configs/NAME.yaml`, `NAME.yaml` or `NAME`; in a sub-folder, NAME is `FOLDER/FILE`.

    Raises:
        ConfigError: there is none; names where it looked and the nearest installed name.
    """
    given = Path(path)
    if given.is_dir():
        raise ConfigError(f"{path}: this is a folder; --config needs a YAML file")
    if given.exists():
        return given  # what is no regular file is refused by its reader, which says what it is
    root = Path(str(files(_PACKAGE)))
    installed = {file.relative_to(root).with_suffix("").as_posix(): file for file in installed_configs()}
    name = _installed_name(given).removesuffix(".yaml")
    if name in installed:
        return installed[name]
    guess = nearest(name, installed)
    hint = f"; did you mean {_FOLDER}/{guess}.yaml?" if guess else ""
    raise ConfigError(f"{path}: no such file here ({Path.cwd()}) nor among the installed {files(_PACKAGE)}{hint}")
