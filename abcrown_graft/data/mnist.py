"""`MNIST`: the four IDX files under their official names, plain or gzip-compressed.

Looked for in `data_dir`, `data_dir/MNIST/raw` and `data_dir/mnist`. Data sets in the same format
and of the same size, such as Fashion-MNIST, load too.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from abcrown_graft.data.images import BYTE_LEVELS, ImageData, check_labels, pixels_from_bytes
from abcrown_graft.data.locate import LIMIT, all_in, for_split, missing, read_bytes
from abcrown_graft.data.registry import DATASETS
from abcrown_graft.errors import DataError
from abcrown_graft.files import gunzip

_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_UNSIGNED_BYTES = 0x08  # the IDX type code
_SIDE = 28


@DATASETS.register("MNIST")
def load_mnist(split: str, data_dir: Path) -> ImageData:
    """MNIST as `(n, 1, 28, 28)` in [0, 1], 10 classes.

    Raises:
        DataError: a file is missing, damaged, truncated or of another kind, the counts differ, or a
            label is above 9.
    """
    names = for_split("MNIST", split, _FILES)
    folders = [data_dir, data_dir / "MNIST" / "raw", data_dir / "mnist"]
    found = (paths for folder in folders if (paths := all_in(folder, names, ("", ".gz"))))
    image_path, label_path = next(found, (None, None))
    if image_path is None or label_path is None:
        raise missing("MNIST", split, names, folders, f"{names[0]}.gz and {names[1]}.gz, compressed or not,")
    images, labels = read_idx(image_path, 3), torch.from_numpy(read_idx(label_path, 1).astype(np.int64))
    if images.shape[1:] != (_SIDE, _SIDE):
        raise DataError(f"{image_path}: images of {images.shape[1]} x {images.shape[2]} pixels, expected 28 x 28")
    if len(images) != len(labels):
        raise DataError(f"{image_path}: {len(images)} images, but {label_path} has {len(labels)} labels")
    check_labels(labels, 10, str(label_path))
    return ImageData("MNIST", split, pixels_from_bytes(images[:, None]), labels, 10, levels=BYTE_LEVELS)


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """A read-only uint8 array from an IDX file: magic number, `dimensions` big-endian sizes, then the bytes.

    Raises:
        DataError: the magic number is another one, or the file is shorter or longer than its sizes say.
    """
    content = _decompressed(path)
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise DataError(f"{path}: {len(content)} bytes, too short for an IDX header of {header} bytes")
    magic, expected_magic = int.from_bytes(content[:4], "big"), _UNSIGNED_BYTES << 8 | dimensions
    if magic != expected_magic:
        raise DataError(f"{path}: magic number 0x{magic:08x}, expected 0x{expected_magic:08x}; not this IDX file")
    sizes = [int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4)]
    expected = header + math.prod(sizes)
    if len(content) != expected:
        raise DataError(f"{path}: expected {expected} bytes for sizes {sizes}, found {len(content)}; get it again")
    return np.frombuffer(content, np.uint8, offset=header).reshape(sizes)


def _decompressed(path: Path) -> bytes:
    content = read_bytes(path)
    return gunzip(path, content, LIMIT, DataError) if path.suffix == ".gz" else content
