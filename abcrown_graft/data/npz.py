"""`NPZ`: a NumPy archive of your own images, named by `data.dataset: some/file.npz`, or by
`data.dataset: NPZ` with `data.data_dir` as the path of the file.

Arrays, the first name found of each list (a pair for the split goes before one for both):

- images: `x_train`/`x_test`, `images_train`/`images_test`, `x`, `images`, `X`: uint8, or floating
  point in [0, 1]; `(n, height, width)` for one channel, `(n, height, width, channels)` where the last
  axis is 1 or 3 and axis 1 is not, otherwise `(n, channels, height, width)`;
- labels: `y_train`/`y_test`, `labels_train`/`labels_test`, `y`, `labels`: integers from 0, `(n,)`;
- `target_label` `(n,)`: optional, the class to beat in each image (`robustness_type: specify-target`);
- `data_min`, `data_max`: optional, bounds of the pixels, of the images' shape (`specification.type: box`);
- `num_classes`: optional, an integer; by default one more than the largest label.

An archive without split names gives the same images whichever split is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from abcrown_graft.data.arrays import EXTRAS, image_data_from_arrays
from abcrown_graft.data.images import ImageData
from abcrown_graft.data.locate import for_split, reason
from abcrown_graft.data.registry import DATASETS
from abcrown_graft.errors import DataError
from abcrown_graft.files import check_archive

_NAMES = {
    split: {
        "images": (f"x_{split}", f"images_{split}", "x", "images", "X"),
        "labels": (f"y_{split}", f"labels_{split}", "y", "labels"),
    }
    for split in ("train", "test")
}


@DATASETS.register("NPZ")
def load_npz(split: str, data_dir: Path) -> ImageData:
    """The images of the archive at `data_dir`, which is the path of the file itself.

    Raises:
        DataError: no such file, a damaged one, pickled objects in it, or arrays that do not fit.
    """
    names = for_split("NPZ", split, _NAMES)
    if not data_dir.is_file():
        raise DataError(
            f"NPZ: no file {data_dir}; set data.data_dir (--data_dir) to the .npz file, or data.dataset to its path"
        )
    arrays = _read_archive(data_dir, {*names["images"], *names["labels"], "num_classes", *EXTRAS})
    images = channels_first(_first(arrays, names["images"], data_dir))
    labels = _first(arrays, names["labels"], data_dir)
    extras = {key: arrays[key] for key in EXTRAS if key in arrays}
    return image_data_from_arrays(str(data_dir), split, images, labels, _num_classes(arrays, data_dir), extras)


def channels_first(images: np.ndarray) -> np.ndarray:
    """`images` as `(n, channels, height, width)`; see the module's description for the rule."""
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[3] in (1, 3) and images.shape[1] not in (1, 3):
        return images.transpose(0, 3, 1, 2)
    return images


def _read_archive(path: Path, wanted: set[str]) -> dict[str, np.ndarray]:
    check_archive(path, DataError, lambda name: name.removesuffix(".npy") in wanted)
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("a single array, not an archive")
            return {name: archive[name] for name in archive.files if name in wanted}
    except Exception as error:  # a damaged file makes NumPy raise nearly anything, TokenError included
        raise DataError(f"{path}: not a complete .npz archive of plain arrays ({reason(error)})") from None


def _first(arrays: Mapping[str, np.ndarray], names: tuple[str, ...], path: Path) -> np.ndarray:
    for name in names:
        if name in arrays:
            return arrays[name]
    raise DataError(f"{path}: holds none of the arrays {', '.join(names)}; save one of them")


def _num_classes(arrays: Mapping[str, np.ndarray], path: Path) -> int | None:
    if "num_classes" not in arrays:
        return None
    value = arrays["num_classes"]
    if value.size != 1 or not np.issubdtype(value.dtype, np.integer) or value.item() < 1:
        raise DataError(f"{path}: num_classes must be one positive integer, found {value.tolist()}")
    return int(value.item())
