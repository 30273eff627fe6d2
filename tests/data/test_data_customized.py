"""A user's function may return images in four forms; anything else is refused in one line."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from abcrown_graft.data.customized import call_and_convert
from abcrown_graft.data.images import ImageData
from abcrown_graft.errors import DataError, ModelError

IMAGES, LABELS = torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 0])
NAME = 'Customized("mine.py", "images")'


def convert(result: object) -> ImageData:
    return call_and_convert(lambda: result, NAME, "test")


@pytest.mark.parametrize(
    "result",
    [
        (IMAGES, LABELS),
        (IMAGES.numpy(), LABELS.numpy()),
        (IMAGES.double(), LABELS.int()),
        {"X": IMAGES, "labels": LABELS},
        {"X": IMAGES, "labels": LABELS, "runnerup": None, "num_classes": 2},
        (IMAGES.clone().requires_grad_(), LABELS),
    ],
)
def test_pairs_and_dictionaries_of_arrays_or_tensors(result: object) -> None:
    data = convert(result)
    assert torch.equal(data.images, IMAGES) and not data.images.requires_grad
    assert data.labels.tolist() == [0, 1, 0]
    assert (data.name, data.split, data.num_classes) == (NAME, "test", 2)


def test_bytes_are_scaled() -> None:
    assert convert((np.full((1, 1, 1, 1), 255, np.uint8), np.array([0]))).images.item() == 1


def test_image_data_is_taken_as_it_is() -> None:
    data = ImageData("OWN", "train", IMAGES, LABELS, 10)
    assert convert(data) is data


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "returned a NoneType, expected ImageData"),
        (IMAGES, "returned a Tensor"),
        ((IMAGES, LABELS, IMAGES, IMAGES, 0.1), "returned a tuple of 5"),
        ([IMAGES, LABELS], "returned a list"),
        ({"X": IMAGES}, "a dictionary without 'labels'"),
        ({"labels": LABELS}, "a dictionary without 'X'"),
        ({"X": IMAGES, "labels": LABELS, "eps": 0.1}, "the entry 'eps', which is not used"),
        ({"X": IMAGES, "labels": LABELS, "runnerup": LABELS}, "the entry 'runnerup', which is not used"),
        ({"X": IMAGES, "labels": LABELS, "data_max": IMAGES}, "of data_min and data_max only one is given"),
        ({"X": IMAGES, "labels": LABELS, "data_max": IMAGES, "data_min": IMAGES + 1}, "data_min is above data_max"),
        ({"X": IMAGES, "labels": LABELS, "data_max": IMAGES[:2], "data_min": IMAGES}, "does not fit images of"),
        ({"X": IMAGES, "labels": LABELS, "data_max": IMAGES, "data_min": LABELS}, "data_min: int64, expected floating"),
        ({"X": IMAGES, "labels": LABELS, "data_max": IMAGES, "data_min": IMAGES - float("inf")}, "NaN or infinite"),
        ({"X": IMAGES, "labels": LABELS, "target_label": LABELS}, "target_label of image 0 is its label"),
        ({"X": IMAGES, "labels": LABELS, "target_label": LABELS - 9}, "target_label: label .* is outside"),
        ({"X": IMAGES, "labels": LABELS, "num_classes": 0}, "num_classes 0, expected a positive integer"),
        ((IMAGES, "labels"), "returned a str where an array or a tensor is expected"),
        ((IMAGES * 3 - 1.5, LABELS), r"outside \[0, 1\]; .* data\.mean and data\.std"),
        ((IMAGES[0], LABELS), r"shape \(1, 2, 2\)"),
        ((IMAGES, LABELS[:2]), "3 images but 2 labels"),
    ],
)
def test_anything_else_is_refused(result: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        convert(result)
    assert NAME in str(caught.value) and "\n" not in str(caught.value)


def test_a_function_that_fails_is_named_with_its_reason() -> None:
    def fails() -> None:
        raise FileNotFoundError("no such\nfile")

    with pytest.raises(DataError, match=r'"images"\): FileNotFoundError: no such file') as caught:
        call_and_convert(fails, NAME, "test")
    assert isinstance(caught.value.__cause__, FileNotFoundError), "the traceback is kept"


def test_an_error_of_this_package_passes_unchanged() -> None:
    error = ModelError("x")

    def fails() -> None:
        raise error

    with pytest.raises(ModelError) as caught:
        call_and_convert(fails, NAME, "test")
    assert caught.value is error


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_no_number_of_a_tensor_is_rounded(dtype: torch.dtype) -> None:
    images, bounds = IMAGES.double().to(dtype) * 0.7, torch.full((3, 1, 2, 2), 0.7, dtype=dtype)
    data = convert({"X": images, "labels": LABELS, "data_min": bounds - 1, "data_max": bounds})
    assert data.lower is not None and data.upper is not None
    assert torch.equal(data.upper, bounds.double()) and torch.equal(data.lower, (bounds - 1).double())
    assert torch.equal(data.readings([0, 1, 2]).lower, images.double())
