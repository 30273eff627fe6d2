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
