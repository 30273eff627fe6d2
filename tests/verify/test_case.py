"""Cases: where they start, what is reported of them, and how images become cases."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from abcrown_graft.geometry.box import Box
from abcrown_graft.geometry.robustness import Robustness
from abcrown_graft.geometry.specification import Specification
from abcrown_graft.verdict import NO_LABEL, Verdict
from abcrown_graft.verify.case import Case, image_cases

IMAGES = torch.tensor([[0.2, 0.9], [0.5, 0.5]])
LABELS = torch.tensor([1, 2])


def made(kind: str = "verified-acc") -> list[Case]:
    return list(image_cases(IMAGES, LABELS, [7, 3], Robustness(0.25, kind), 3))


def box_alone() -> Case:
    """One box, `[0, 1]` times `[0.25, 0.75]`, of which nothing is asked."""
    box = Box(torch.tensor([[0.0, 0.25]]).double(), torch.tensor([[1.0, 0.75]]).double())
    return Case(4, (Specification(box, torch.zeros(1, 1, 1, 1).double(), torch.zeros(1, 1, 1).double()),))


def test_an_image_is_a_box_around_it_with_a_clause_for_each_other_class() -> None:
    for case, image, label, index in zip(made(), IMAGES, LABELS.tolist(), (7, 3), strict=True):
        (wanted,) = case.specifications
        assert (case.index, case.label, case.judge, case.spent, case.nearest) == (index, label, None, 0.0, False)
        assert torch.equal(case.clean, image) and torch.equal(case.start(torch.float32), image)
        lowest = (image.double() - 0.25).clamp(0, 1)
        assert (wanted.box.lower[0] <= lowest).all() and torch.allclose(wanted.box.lower[0], lowest, rtol=0, atol=1e-15)
        assert wanted.rows.shape == (1, 2, 1, 3) and (wanted.rows[0, :, 0, label] == 1).all()


def test_images_become_cases_when_they_are_asked_for() -> None:
    asked: list[int] = []

    class Watched(Robustness):
        def __call__(self, images, labels, indices, outputs):
            asked.extend(indices)
            return super().__call__(images, labels, indices, outputs)

    cases = image_cases(IMAGES, LABELS, [7, 3], Watched(0.25), 3)
    assert asked == []
    next(cases)
    assert asked == [7]


def test_against_the_runner_up_the_nearest_clause_counts() -> None:
    assert all(case.nearest for case in made("runnerup"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_a_clean_input_the_middle_of_the_box_is_first(dtype: torch.dtype) -> None:
    start = box_alone().start(dtype)
    assert start.dtype == dtype and start.tolist() == [0.5, 0.5]


def test_the_middle_of_a_huge_box_is_finite() -> None:
    most = torch.full((1, 2), torch.finfo(torch.float64).max, dtype=torch.float64)
    (given,) = box_alone().specifications
    case = replace(box_alone(), specifications=(replace(given, box=Box(most / 2, most)),))
    assert case.start(torch.float64).isfinite().all()


def test_what_is_reported_of_a_case_with_and_without_a_label() -> None:
    labelled = made()[0].result(Verdict.ERROR, "error", 1.5, 2, reason="why")
    assert (labelled.index, labelled.label, labelled.predicted, labelled.seconds) == (7, 1, 2, 1.5)
    assert (labelled.verdict, labelled.status, labelled.reason) == (Verdict.ERROR, "error", "why")
    plain = box_alone().result(Verdict.UNKNOWN, "unknown", 0.0, 2)
    assert (plain.index, plain.label, plain.predicted) == (4, NO_LABEL, NO_LABEL)
