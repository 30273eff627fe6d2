"""`SVHN`: the cropped Street View House Numbers, format 2 (`train_32x32.mat`, `test_32x32.mat`).

Looked for in `data_dir`, `data_dir/SVHN` and `data_dir/svhn`. The files call digit 0 "10"; here its
label is 0.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from abcrown_graft.data.images import BYTE_LEVELS, ImageData, pixels_from_bytes
from abcrown_graft.data.locate import all_in, for_split, missing, reason
from abcrown_graft.data.registry import DATASETS
from abcrown_graft.errors import DataError
from abcrown_graft.files.archive import check_memory, memory
from abcrown_graft.files.read import check_regular

NUMBERS = {f"{sign}int{8 * size}": size for sign in ("", "u") for size in (1, 2, 4, 8)} | {"single": 4, "double": 8}
_FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}


@DATASETS.register("SVHN")
def load_svhn(split: str, data_dir: Path) -> ImageData:
    """SVHN as `(n, 3, 32, 32)` in [0, 1], 10 classes, label = digit.

    Raises:
        DataError: the file is missing, damaged or of another kind, or a label is outside 1..10.
    """
    name = for_split("SVHN", split, _FILES)
    folders = [data_dir, data_dir / "SVHN", data_dir / "svhn"]
    found = (paths[0] for folder in folders if (paths := all_in(folder, [name])))
    path = next(found, None)
    if path is None:
        raise missing("SVHN", split, [name], folders, f"{name} (format 2, cropped digits)")
    pixels, labels = _read_mat(path)
    images = pixels_from_bytes(pixels.transpose(3, 2, 0, 1))
    return ImageData("SVHN", split, images, torch.from_numpy(labels % 10), 10, levels=BYTE_LEVELS)


def _read_mat(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels `(32, 32, 3, n)` uint8 and labels `(n,)` int64 in 1..10, checked."""
    from scipy.io import loadmat, whosmat

    check_regular(path, DataError)
    try:
        needed = _declared_bytes(whosmat(path))
        content = loadmat(path, variable_names=("X", "y")) if needed <= memory() else {}
    except Exception as error:  # a damaged file makes SciPy raise nearly anything, IndexError included
        raise DataError(f"{path}: not a complete MATLAB 5 file ({reason(error)}); get it again") from None
    check_memory(path, needed, DataError)
    if "X" not in content or "y" not in content:
        raise DataError(f"{path}: must hold the variables X and y")
    pixels, labels = content["X"], np.asarray(content["y"]).ravel()
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[:3] != (32, 32, 3):
        raise DataError(f"{path}: X is {pixels.dtype} {pixels.shape}, expected uint8 (32, 32, 3, n)")
    if len(labels) != pixels.shape[3]:
        raise DataError(f"{path}: {pixels.shape[3]} images but {len(labels)} labels")
    outside = np.flatnonzero(~np.isin(labels, np.arange(1, 11)))
    if len(outside):
        raise DataError(f"{path}: y[{outside[0]}] is {labels[outside[0]]}, expected 1..10 (10 stands for digit 0)")
    return pixels, labels.astype(np.int64)


def _declared_bytes(variables: list[tuple[str, tuple[int, ...], str]]) -> int:
    """How much memory the variables X and y take, from their names, shapes and classes in MATLAB's words.

    Raises:
        ValueError: one is no array of numbers; cells in cells are read by recursion, without a limit.
    """
    wanted = [(name, math.prod(shape), kind) for name, shape, kind in variables if name in ("X", "y")]
    strange = next((f"{name} is {kind}" for name, _, kind in wanted if kind not in NUMBERS), None)
    if strange is not None:
        raise ValueError(f"{strange}, not numbers")
    return sum(count * NUMBERS[kind] for _, count, kind in wanted)
