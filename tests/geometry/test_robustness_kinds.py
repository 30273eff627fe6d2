"""Which classes each kind of robustness compares the label with, and over which box."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from abcrown_graft.geometry.box import Box
from abcrown_graft.geometry.robustness import Robustness

OUTPUTS = torch.tensor([[9.0, 1.0, 5.0, 3.0], [4.0, 7.0, 9.0, 8.0], [0.0, -1.0, -2.0, -9.0]])
LABELS = torch.tensor([0, 2, 3])  # the last image is misclassified
IMAGES = torch.full((3, 2), 0.5)


def beaten(robustness: Robustness) -> list[list[int]]:
    """For each image, the classes over which the label's margin has to be positive."""
    specification = robustness(IMAGES, LABELS, [10, 11, 12], 4)
    if robustness.nearest:
        specification = specification.nearest(OUTPUTS)
    assert not specification.offsets.any() and specification.rows.shape[2] == 1, "margins have no constants"
    found = []
    for label, rows in zip(LABELS.tolist(), specification.rows.squeeze(2).tolist(), strict=True):
        for row in rows:
            assert sorted(row) == [-1, 0, 0, 1] and row[label] == 1
        found.append([row.index(-1) for row in rows])
    return found


@pytest.mark.parametrize("kind", ["verified-acc", "clean-acc"])
def test_the_label_beats_every_other_class(kind):
    assert beaten(Robustness(0.1, kind)) == [[1, 2, 3], [0, 1, 3], [0, 1, 2]]


def test_the_runner_up_is_the_likeliest_class_but_for_the_label():
    assert beaten(Robustness(0.1, "runnerup")) == [[2], [3], [0]]


@pytest.mark.parametrize("others", [(1, 0, 0), (2, 1, 1), (3, 3, 2)])
def test_a_target_is_that_of_the_images_number(others):
    targets = torch.full((13,), -1)
    targets[10:] = torch.tensor(others)
    assert beaten(Robustness(0.1, "specify-target", targets)) == [[target] for target in others]


def test_given_bounds_are_those_of_the_images_number():
    lower = torch.arange(26.0).view(13, 2) / 100
    specification = Robustness(None, lower=lower, upper=lower + 0.5)(IMAGES, LABELS, [10, 11, 12], 4)
    torch.testing.assert_close(specification.box.lower, lower[10:].double())
    torch.testing.assert_close(specification.box.upper, lower[10:].double() + 0.5, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        ((0, 1, 0), "the target 0 is the label of the image itself"),
        ((1, -1, 0), "the target -1 is none of the 4 classes"),
        ((1, 1, 4), "the target 4 is none of the 4 classes"),
    ],
)
def test_a_target_that_is_no_other_class_is_refused(targets: tuple[int, ...], told: str) -> None:
    """Counted from the end, or past the label, it would be another class."""
    robustness = Robustness(0.1, "specify-target", torch.tensor(targets))
    with pytest.raises(ValueError, match=told):
        robustness(IMAGES, LABELS, [0, 1, 2], 4)


@pytest.mark.parametrize("kind", ["verified-acc", "clean-acc", "runnerup", "specify-target"])
@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_that_is_no_class_is_refused(kind: str, label: int) -> None:
    robustness = Robustness(0.1, kind, torch.tensor([1, 1, 1]))
    with pytest.raises(ValueError, match=f"the label {label} is none of the 4 classes"):
        robustness(IMAGES, torch.tensor([0, 2, label]), [0, 1, 2], 4)


@pytest.mark.parametrize("epsilon", [-0.1, float("nan")])
def test_a_radius_that_is_none_is_refused(epsilon: float) -> None:
    """Of an empty box everything could be proved."""
    with pytest.raises(ValueError, match="a radius of at least 0"):
        Robustness(epsilon)


def test_crossed_bounds_are_refused() -> None:
    upper = IMAGES.clone()
    upper[1, 1] -= 0.1
    with pytest.raises(ValueError, match="nowhere above the upper bounds"):
        Robustness(None, lower=IMAGES, upper=upper)


def test_every_reading_of_a_pixel_is_in_the_box_and_counterexamples_are_near_all_of_them() -> None:
    read = Box(IMAGES.double() - 1e-9, IMAGES.double() + 2e-9)
    found = Robustness(0.25, readings=lambda indices: read)(IMAGES, LABELS, [0, 1, 2], 4)
    close = {"rtol": 0, "atol": 1e-15}
    torch.testing.assert_close(found.box.lower, read.lower - 0.25, **close)
    torch.testing.assert_close(found.box.upper, read.upper + 0.25, **close)
    assert (found.box.lower < read.lower - 0.25).all() and (found.box.upper > read.upper + 0.25).all()
    torch.testing.assert_close(found.inside.lower, read.upper - 0.25, **close)
    torch.testing.assert_close(found.inside.upper, read.lower + 0.25, **close)
    assert (found.inside.lower >= read.upper - 0.25).all() and (found.inside.upper <= read.lower + 0.25).all()


@pytest.mark.parametrize("changed", [{"epsilon": 0.0}, {"epsilon": 1e-10}, {"epsilon": 0.1, "kind": "clean-acc"}])
def test_the_image_that_the_model_is_given_always_counts(changed: dict[str, Any]) -> None:
    read = Box(IMAGES.double() - 1e-9, IMAGES.double() - 1e-9)
    found = Robustness(**changed, readings=lambda indices: read)(IMAGES, LABELS, [0, 1, 2], 4)
    assert torch.equal(found.inside.lower, IMAGES.double()) and torch.equal(found.inside.upper, IMAGES.double())
    assert (found.box.lower <= read.lower).all() and (found.box.upper >= IMAGES).all()
