"""Which classes each kind of robustness compares the label with, and over which box."""

from __future__ import annotations

import pytest
import torch

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
