"""Data sets as tensors in memory: `load_dataset("MNIST", "test", data_dir)` gives an `ImageData`.

Nothing is downloaded. A data set is a loader registered in `DATASETS`, one module each.
"""

from abcrown_graft.data import cifar, digits, mnist, npz, svhn  # noqa: F401  (each registers its loader)
from abcrown_graft.data.images import ImageData
from abcrown_graft.data.registry import DATASETS, load_dataset

__all__ = ["DATASETS", "ImageData", "load_dataset"]
