"""Images from a user's own function, `data.dataset: Customized("file.py", "function", key=value)`.

The function is called with the arguments that are written, nothing more, and returns an `ImageData`,
a pair (images, labels), or a dictionary with `X`, `labels` and optionally `num_classes`, `target_label`,
`data_min` and `data_max` (see `npz`). Images are `(n, channels, height, width)`, uint8 or floating point
in [0, 1], not normalised; arrays or tensors. Other entries of the dictionary must be None: the rest of the
specification is the configuration's, and what is returned here would be silently ignored.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from abcrown_graft.data.arrays import EXTRAS, image_data_from_arrays
from abcrown_graft.data.images import ImageData
from abcrown_graft.data.locate import reason
from abcrown_graft.errors import AbcrownGraftError, DataError

_ENTRIES = ("X", "labels", "num_classes", *EXTRAS)


def call_and_convert(function: Callable[[], object], name: str, split: str) -> ImageData:
    """Calls `function` and makes `ImageData` of what it returns.

    Args:
        function: the user's, its arguments bound.
        name: `Customized(...)` as written; begins every message.
        split: recorded in the result; the function does not learn of it.

    Raises:
        DataError: the function fails or returns something else.
    """
    try:
        result = function()
    except AbcrownGraftError:
        raise
    except (Exception, SystemExit) as error:
        raise DataError(f"data.dataset {name}: {type(error).__name__}: {reason(error)}") from error
    return _convert(result, name, split)


def _convert(result: object, name: str, split: str) -> ImageData:
    if isinstance(result, ImageData):
        return result
    num_classes, extras = None, {}
    if isinstance(result, dict):
        images, labels, num_classes = _from_dictionary(result, name)
        extras = {key: _array(result[key], name) for key in EXTRAS if result.get(key) is not None}
    elif isinstance(result, tuple) and len(result) == 2:
        images, labels = result
    else:
        found = f"a tuple of {len(result)}" if isinstance(result, tuple) else f"a {type(result).__name__}"
        raise DataError(f"{name} returned {found}, expected ImageData, (images, labels) or {{'X': ..., 'labels': ...}}")
    return image_data_from_arrays(name, split, _array(images, name), _array(labels, name), num_classes, extras)


def _from_dictionary(result: dict[object, object], name: str) -> tuple[object, object, int | None]:
    absent = [key for key in ("X", "labels") if key not in result]
    if absent:
        raise DataError(f"{name} returned a dictionary without {absent[0]!r}, expected 'X' and 'labels'")
    unused = [key for key, value in result.items() if key not in _ENTRIES and value is not None]
    if unused:
        raise DataError(f"{name} returned the entry {unused[0]!r}, which is not used; set it under specification:")
    num_classes = result.get("num_classes")
    if num_classes is not None and (type(num_classes) is not int or num_classes < 1):
        raise DataError(f"{name} returned num_classes {num_classes!r}, expected a positive integer")
    return result["X"], result["labels"], num_classes


def _array(value: object, name: str) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        shorter = value.is_floating_point() and value.element_size() < 4  # NumPy lacks bfloat16; float32 holds it
        return (value.float() if shorter else value).detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        return value
    raise DataError(f"{name} returned a {type(value).__name__} where an array or a tensor is expected")
