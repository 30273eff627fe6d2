"""Where files that a configuration names by a relative path are found."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path


def package_folder() -> Path:
    """The folder that holds the installed `model_defs/`."""
    spec = importlib.util.find_spec("abcrown_graft.model_defs")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("abcrown_graft.model_defs is not installed")
    return Path(next(iter(spec.submodule_search_locations))).parent


def find_file(path: str | os.PathLike[str], folders: Sequence[Path] = ()) -> Path:
    """The first file `path` relative to `folders`, to the working directory or, last, to the installed package.

    So `model_defs/weights/x.safetensors` is found from any directory. A path that leads to no file anywhere is
    returned as given: whoever opens it says that it is missing.
    """
    given = Path(path).expanduser()
    if given.is_absolute():
        return given
    places = [*(Path(folder) / given for folder in folders), given]
    if given.parts[:1] == ("model_defs",):
        places.append(package_folder() / given)
    return next((place for place in places if place.is_file()), given)
