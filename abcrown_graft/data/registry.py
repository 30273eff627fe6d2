"""The registry of data sets and the one way to load one by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from abcrown_graft.data.images import ImageData
from abcrown_graft.errors import DataError
from abcrown_graft.registry import Registry

DEFAULT_DATA_DIR = Path("data")

Loader = Callable[[str, Path], ImageData]
"""Makes the split (first argument, "train" or "test") from the files under a folder (second argument)."""

DATASETS: Registry[Loader] = Registry("data set")


def load_dataset(
    name: str, split: str = "test", data_dir: Path | None = None, folders: Sequence[Path] = ()
) -> ImageData:
    """The images and labels that `data.dataset: name` stands for.

    Args:
        name: a registered name; the path of an `.npz` file, relative to `folders`, `data_dir` or the
            working directory; or `Customized("file.py", "function", ...)`, a function that is called
            with the arguments written and returns images (see `abcrown_graft.data.customized`).
        split: "train" or "test".
        data_dir: where the files lie; by default `data` in the working directory.
        folders: where relative paths of scripts and `.npz` files are looked up.

    Raises:
        ConfigError: the name is unknown, or `Customized(...)` is malformed or names no function.
        DataError: files are missing or malformed; the message says where they were expected.
    """
    from abcrown_graft.config.customized import parse_customized

    data_dir = Path(DEFAULT_DATA_DIR if data_dir is None else data_dir).expanduser()
    customized = parse_customized(name)
    if customized is not None:
        from abcrown_graft.data.customized import call_and_convert

        return call_and_convert(customized.load(folders), name, split)
    if name.endswith(".npz"):
        return DATASETS["NPZ"](split, _find_npz(name, [*folders, data_dir, Path()]))
    return DATASETS[name](split, data_dir)


def _find_npz(name: str, folders: Sequence[Path]) -> Path:
    """`name` in the first of `folders` that has it; an absolute path stands for itself."""
    candidates = list(dict.fromkeys(Path(folder) / Path(name).expanduser() for folder in folders))
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    looked = ", ".join(str(candidate) for candidate in candidates)
    raise DataError(f"data.dataset {name!r}: no such file; looked for {looked}; point data.data_dir at its folder")
