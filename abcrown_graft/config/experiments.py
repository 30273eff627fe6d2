"""The YAML experiments that are installed with the package, found by name from any folder."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from abcrown_graft.errors import ConfigError
from abcrown_graft.registry import nearest

_PACKAGE = "abcrown_graft.exp_configs"
_FOLDER = "exp_configs"


def installed_configs() -> list[Path]:
    """The installed YAML files in alphabetical order."""
    return sorted(Path(str(entry)) for entry in files(_PACKAGE).iterdir() if entry.name.endswith(".yaml"))


def find_config(path: str) -> Path:
    """The YAML file that `path` means.

    That is an existing file as it is; otherwise the installed experiment of that name, which may be written as
    `exp_configs/NAME.yaml`, `NAME.yaml` or `NAME`.

    Raises:
        ConfigError: there is none; names where it looked and the nearest installed name.
    """
    given = Path(path)
    if given.is_file():
        return given
    if given.is_dir():
        raise ConfigError(f"{path}: this is a folder; --config needs a YAML file")
    installed = installed_configs()
    name = given.as_posix().removeprefix(_FOLDER + "/")
    for file in installed:
        if name in (file.name, file.stem):
            return file
    guess = nearest(given.stem, [file.stem for file in installed])
    hint = f"; did you mean {_FOLDER}/{guess}.yaml?" if guess else ""
    raise ConfigError(f"{path}: no such file here ({Path.cwd()}) nor among the installed {files(_PACKAGE)}{hint}")
