"""A user's arrays become `ImageData` only if there is one way to read them."""

from __future__ import annotations

import numpy as np
import pytest

from abcrown_graft.data.arrays import image_data_from_arrays
from abcrown_graft.errors import DataError

BYTES = np.array([0, 51, 255, 102], np.uint8).reshape(2, 1, 1, 2)
LABELS = np.array([0, 4])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_kept_and_bytes_are_scaled(dtype: type) -> None:
    halves = np.array([0, 0.5, 1, 0.25], dtype).reshape(2, 1, 1, 2)
    assert image_data_from_arrays("a", "test", halves, LABELS).images.flatten().tolist() == [0, 0.5, 1, 0.25]
    scaled = image_data_from_arrays("a", "test", BYTES, LABELS).images.flatten().tolist()
    assert scaled == pytest.approx([0, 0.2, 1, 0.4])


@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None], LABELS.astype(np.uint8), LABELS.astype(">i4")])
def test_labels_may_be_a_column_of_any_integer_type(labels: np.ndarray) -> None:
    data = image_data_from_arrays("a", "test", BYTES, labels)
    assert data.labels.tolist() == [0, 4]
    assert data.num_classes == 5, "the fewest classes that the labels allow"
    assert image_data_from_arrays("a", "test", BYTES, labels, 7).num_classes == 7


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (BYTES.astype(np.int64), LABELS, "images are int64, expected uint8"),
        (BYTES > 0, LABELS, "images are bool"),
        (BYTES.astype(np.float32), LABELS, r"image 0 has a pixel of value 51, outside \[0, 1\]"),
        (np.full((2, 1, 1, 2), np.nan), LABELS, "pixel of value nan"),
        (np.full((2, 1, 1, 2), 1e300), LABELS, "pixel of value inf"),
        (BYTES[0], LABELS, r"shape \(1, 1, 2\)"),
        (BYTES, LABELS.astype(float), "labels are float64, expected integers"),
        (BYTES, np.array(["a", "b"]), "expected integers"),
        (BYTES, LABELS[:1], "2 images but 1 labels"),
        (BYTES, -LABELS, "label -4 of image 1"),
        (BYTES[:0], LABELS[:0], "empty"),
    ],
)
def test_anything_else_is_refused(images: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        image_data_from_arrays("mine", "test", images, labels)


def test_a_label_above_the_given_number_of_classes_is_refused() -> None:
    with pytest.raises(DataError, match=r"label 4 of image 1 is outside 0\.\.3"):
        image_data_from_arrays("mine", "test", BYTES, LABELS, 4)


def test_what_float32_does_not_hold_is_kept_in_float64() -> None:
    values = np.array([0.1, 0.7, 0.0, 1.0]).reshape(2, 1, 1, 2)
    data = image_data_from_arrays("a", "test", values, LABELS)
    assert data.pixels is not None and data.pixels.numpy().tolist() == values.tolist()
    assert data.images.numpy().tolist() == values.astype(np.float32).tolist() and data.levels is None
    single = image_data_from_arrays("a", "test", values.astype(np.float32).astype(np.float64), LABELS)
    assert single.pixels is None, "float32 holds them"
    bytes_ = image_data_from_arrays("a", "test", BYTES, LABELS)
    assert bytes_.pixels is None and bytes_.levels == 255


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="long double is float64 here")
def test_longer_numbers_are_rounded_outwards_as_bounds_and_refused_as_images() -> None:
    thirds = np.ones((2, 1, 1, 2), np.longdouble) / 3
    extras = {"data_min": -thirds, "data_max": thirds}
    data = image_data_from_arrays("a", "test", BYTES, LABELS, extras=extras)
    assert data.lower is not None and data.upper is not None
    near = np.nextafter(1 / 3, 1)
    assert (data.lower == -near).all() and (data.upper == near).all()
    data = image_data_from_arrays("a", "test", BYTES, LABELS, extras={"data_min": thirds, "data_max": thirds + 1})
    assert data.lower is not None and (data.lower == 1 / 3).all(), "float64's third is below"
    with pytest.raises(DataError, match=r"float64 does not hold these .* images; convert them with astype"):
        image_data_from_arrays("a", "test", thirds, LABELS)
