"""Command lines of the processes that are compared, and the flags that say where everything lies."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from cases import Place
from processes import environment

HERE = Path(__file__).resolve().parent
_OURS = "import sys; from abcrown_graft.cli.{} import main; sys.exit(main())"
_FOLDERS = ("abcrown_home", "auto_lirpa_home", "data_dir", "models")


def our_command(program: str, words: Sequence[str]) -> list[str]:
    """`abcrown` (program "abcrown") or `abcrown-graft` ("tools") in this interpreter."""
    return [sys.executable, "-c", _OURS.format(program), *words]


def prepare_command(count: int, place: Place, words: Sequence[str]) -> list[str]:
    """Chooses `count` instances, see `prepare.py`."""
    return [sys.executable, str(HERE / "prepare.py"), str(count), str(place.instances), *words]


def their_command(options: Namespace, config: Path, place: Place, results: Path) -> list[str]:
    """α,β-CROWN, see `abcrown_driver.py`."""
    files = (config, place.instances, results)
    return [options.abcrown_python, str(HERE / "abcrown_driver.py"), *map(str, files)]


def their_environment(options: Namespace) -> dict[str, str]:
    """The variables of that command."""
    return environment(options.threads, (options.abcrown_home / "complete_verifier", options.auto_lirpa_home))


def add_common_flags(parser: ArgumentParser) -> None:
    """Threads, folders and interpreter."""
    parser.add_argument("--threads", type=int, default=1, help="of each verifier")
    parser.add_argument("--abcrown-python", default=sys.executable, help="its interpreter; has abcrown_graft too")
    _add_folder(parser, "--abcrown-home", "ABCROWN_HOME")
    _add_folder(parser, "--auto-lirpa-home", "AUTO_LIRPA_HOME")
    _add_folder(parser, "--data-dir", "ABCROWN_GRAFT_DATA")
    parser.add_argument("--models", type=Path, metavar="DIR", help="networks' weights; DATA_DIR/models by default")


def _add_folder(parser: ArgumentParser, flag: str, variable: str) -> None:
    default = Path(os.environ[variable]) if variable in os.environ else None
    parser.add_argument(flag, type=Path, metavar="DIR", default=default, help=f"or the variable {variable}")


def check_options(parser: ArgumentParser, options: Namespace, needed: Sequence[str]) -> None:
    """Ends the program if one of `needed` is missing or a folder does not exist; makes the folders absolute."""
    for name in needed:
        if getattr(options, name) is None:
            parser.error(f"--{name.replace('_', '-')} is missing")
    options.models = options.models or options.data_dir / "models"
    for name in _FOLDERS:
        folder = getattr(options, name)
        if folder is not None and not folder.is_dir():
            parser.error(f"--{name.replace('_', '-')}: {folder} is no folder")
        setattr(options, name, folder and folder.resolve())
