"""`DIGITS`: the handwritten digits that ship inside scikit-learn (1,797 images of 8 x 8, values 0..16).

Source: test set of "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI
repository, 1998. Early and late images are by different writers, so the split is not a cut: 500 test
and 1,297 training images are spread over the whole file, stratified by class, by plain integer
arithmetic that no library version can change. Every prefix of either split is class-balanced.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch

from abcrown_graft.data.images import ImageData
from abcrown_graft.data.locate import for_split
from abcrown_graft.data.registry import DATASETS

TEST_IMAGES = 500
_GREYEST = np.float32(16)
_MULTIPLIER = 2654435761  # odd, so i -> i * m mod 2^32 has no ties (Knuth's multiplicative hash)


@DATASETS.register("DIGITS")
def load_digits(split: str, data_dir: Path) -> ImageData:
    """The digits as `(n, 1, 8, 8)` in [0, 1], 10 classes; `data_dir` is not needed.

    Raises:
        DataError: `split` is neither "train" nor "test".
    """
    part = for_split("DIGITS", split, {"test": slice(TEST_IMAGES), "train": slice(TEST_IMAGES, None)})
    pixels, labels = _read_table()
    chosen = _stratified_order(labels)[part]
    images = (pixels[chosen].astype(np.float32) / _GREYEST).reshape(-1, 1, 8, 8)
    return ImageData("DIGITS", split, torch.from_numpy(images), torch.from_numpy(labels[chosen].astype(np.int64)), 10)


def _read_table() -> tuple[np.ndarray, np.ndarray]:
    """Pixels `(1797, 64)` and labels `(1797,)`, from the installed file: importing scikit-learn takes a second."""
    spec = importlib.util.find_spec("sklearn")
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
            return table[:, :-1], table[:, -1]
    from sklearn.datasets import load_digits as load  # an installation with another layout

    return load(return_X_y=True)


def _stratified_order(labels: np.ndarray) -> np.ndarray:
    """All indices, ordered so that every prefix holds each class in its overall proportion.

    Within its class an image is ranked by a hash of its index; the image of rank r among k stands at
    (r + 1/2) / k of the whole, and the lower label goes first where two stand level.
    """
    hashes = np.arange(len(labels), dtype=np.uint64) * np.uint64(_MULTIPLIER) % np.uint64(2**32)
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ranks = np.argsort(np.argsort(hashes[members], kind="stable"), kind="stable")
        position[members] = (ranks + 0.5) / len(members)
    return np.lexsort((labels, position))
