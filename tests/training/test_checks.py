"""Data that do not fit the model are refused in one line."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from abcrown_graft.errors import AbcrownGraftError, DataError, ModelError
from abcrown_graft.training.checks import check_data

IMAGES, LABELS = torch.rand(6, 1, 4, 4), torch.arange(6) % 3


def model() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[:0], LABELS[:0], "no images"),
        (IMAGES, LABELS[:5], "one label per image"),
        (IMAGES, LABELS[:, None], "one label per image"),
        (IMAGES, LABELS + 1, "label 3 of image 2 is out of range: the model has 3 classes"),
        (IMAGES, LABELS - 1, "label -1 of image 0 is out of range"),
        (IMAGES, LABELS.float(), "int64"),
        ((IMAGES * 255).byte(), LABELS, "floating point"),
        (IMAGES * 255, LABELS, r"expected \[0, 1\]"),
        (IMAGES - 0.5, LABELS, r"expected \[0, 1\]"),
        (torch.full_like(IMAGES, torch.nan), LABELS, r"expected \[0, 1\]"),
        (torch.rand(6, 3, 4, 4), LABELS, r"does not take images of shape \(3, 4, 4\)"),
    ],
)
def test_wrong_data(images: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        check_data(model(), images, labels)
    assert "\n" not in str(caught.value)


def test_damaged_weights() -> None:
    damaged = model()
    nn.init.constant_(damaged[1].weight, torch.nan)
    with pytest.raises(ModelError, match="weights are damaged"):
        check_data(damaged, IMAGES, LABELS)


def test_a_model_without_logits() -> None:
    with pytest.raises(ModelError, match=r"expected \(1, classes\)"):
        check_data(nn.Conv2d(1, 3, 3), IMAGES, LABELS)


def test_fitting_data_pass_and_modes_stay() -> None:
    fitting = model().train()
    check_data(fitting, IMAGES, LABELS)
    assert fitting.training
    with pytest.raises(AbcrownGraftError):
        check_data(fitting, IMAGES, LABELS + 3)
    assert fitting.training
