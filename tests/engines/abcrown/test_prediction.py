"""Outputs on clean images, whatever goes wrong with some of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from abcrown_graft.engines.abcrown.prediction import predict

IMAGES = torch.arange(10.0).reshape(5, 2)


class Model(torch.nn.Module):
    """Twice the pixels; fails on more than `most` images at once, and on the one that begins with `odd`."""

    def __init__(self, most: int = 99, odd: float = -1) -> None:
        super().__init__()
        self.most, self.odd, self.sizes = most, odd, list[int]()

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError("too many")
        if bool((x[:, 0] == self.odd).any()):
            raise RuntimeError("odd")
        return 2 * x


@pytest.mark.parametrize(("size", "sizes"), [(9, [5]), (5, [5]), (2, [2, 2, 1]), (1, [1] * 5)])
def test_no_more_images_at_once_than_asked_for(size: int, sizes: list[int]) -> None:
    model = Model()
    found = predict(model, IMAGES, size)
    assert torch.equal(found.outputs, 2 * IMAGES) and not found.failures and model.sizes == sizes


def test_what_does_not_fit_is_halved() -> None:
    model = Model(most=2)
    found = predict(model, IMAGES, 5)
    assert torch.equal(found.outputs, 2 * IMAGES) and not found.failures
    assert model.sizes == [5, 3, 2, 1, 2]


def test_an_image_that_fails_is_alone_in_it() -> None:
    found = predict(Model(odd=4), IMAGES, 5)
    assert list(found.failures) == [2] and str(found.failures[2]) == "odd"
    assert torch.equal(found.outputs.isnan().all(1), torch.tensor([False, False, True, False, False]))
    assert torch.equal(found.outputs[3], 2 * IMAGES[3])


def test_without_any_output_their_number_is_unknown() -> None:
    found = predict(Model(most=0), IMAGES, 5)
    assert found.outputs.shape == (5, 0) and sorted(found.failures) == [0, 1, 2, 3, 4]
    assert all(isinstance(error, torch.OutOfMemoryError) for error in found.failures.values())
