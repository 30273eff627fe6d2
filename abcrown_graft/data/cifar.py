"""`CIFAR` (also `CIFAR10`): CIFAR-10 in its binary or its Python version.

Looked for in `data_dir/cifar-10-batches-bin` and `data_dir` (binary version), then in
`data_dir/cifar-10-batches-py` and `data_dir` (Python version, read without unpickling objects).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from abcrown_graft.data.images import BYTE_LEVELS, ImageData, check_labels, pixels_from_bytes
from abcrown_graft.data.inert_pickle import read_pickled_dict
from abcrown_graft.data.locate import all_in, for_split, missing, read_bytes
from abcrown_graft.data.registry import DATASETS
from abcrown_graft.errors import DataError

_FILES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
_PIXELS = 3 * 32 * 32
_RECORD = 1 + _PIXELS  # a label, then the red, green and blue planes

Batch = tuple[np.ndarray, np.ndarray]
"""Pixels `(n, 3072)` uint8, channels first, and labels `(n,)` int64."""


@DATASETS.register("CIFAR10")
@DATASETS.register("CIFAR")
def load_cifar(split: str, data_dir: Path) -> ImageData:
    """CIFAR-10 as `(n, 3, 32, 32)` in [0, 1], 10 classes; "train" is the five batches in order.

    Raises:
        DataError: a file is missing, truncated or of another kind, a label is above 9, or a pickle
            holds anything but plain arrays.
    """
    paths, read = _locate(split, data_dir)
    batches = []
    for path in paths:
        pixels, labels = read(path)
        check_labels(torch.from_numpy(labels), 10, str(path))
        batches.append((pixels, labels))
    images = np.concatenate([pixels for pixels, _ in batches]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([labels for _, labels in batches])
    return ImageData("CIFAR", split, pixels_from_bytes(images), torch.from_numpy(labels), 10, levels=BYTE_LEVELS)


def _locate(split: str, data_dir: Path) -> tuple[list[Path], Callable[[Path], Batch]]:
    """The files of the first complete version, and the function that reads one of them."""
    python_names = for_split("CIFAR", split, _FILES)
    binary_names = tuple(f"{name}.bin" for name in python_names)
    binary, python = data_dir / "cifar-10-batches-bin", data_dir / "cifar-10-batches-py"
    for folders, names, read in (
        ((binary, data_dir), binary_names, read_binary_batch),
        ((python, data_dir), python_names, read_python_batch),
    ):
        for folder in folders:
            paths = all_in(folder, names)
            if paths is not None:
                return paths, read
    official = "cifar-10-binary.tar.gz or cifar-10-python.tar.gz, unpacked,"
    raise missing("CIFAR", split, binary_names, [binary, data_dir, python], official)


def read_binary_batch(path: Path) -> Batch:
    """One file of the binary version: records of a label byte and 3,072 pixel bytes.

    Raises:
        DataError: the size is not a positive multiple of 3,073 bytes.
    """
    content = read_bytes(path)
    if not content or len(content) % _RECORD:
        whole = max(1, -(-len(content) // _RECORD)) * _RECORD
        raise DataError(f"{path}: expected a multiple of 3073 bytes ({whole}), found {len(content)}; get it again")
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    return records[:, 1:], records[:, 0].astype(np.int64)


def read_python_batch(path: Path) -> Batch:
    """One file of the Python version: a pickled dictionary with `data` `(n, 3072)` uint8 and a list `labels`.

    Raises:
        DataError: the pickle is damaged or holds anything but plain arrays, or an entry is malformed.
    """
    entries = read_pickled_dict(path)
    pixels, labels = entries.get("data"), entries.get("labels")
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
        found = pixels.shape if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise DataError(f"{path}: entry 'data' must be uint8 of shape (n, 3072), found {found}")
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label < 10 for label in labels):
        raise DataError(f"{path}: entry 'labels' must be a list of integers in 0..9")
    if len(labels) != len(pixels):
        raise DataError(f"{path}: {len(pixels)} images but {len(labels)} labels")
    return pixels, np.asarray(labels, dtype=np.int64)
