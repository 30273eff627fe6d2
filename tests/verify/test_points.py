"""What counts as a counterexample: a point of the box that the original model, given it by itself, gets wrong."""

from __future__ import annotations

import pytest
import torch
from image_cases import cases_at
from torch import Tensor, nn

from abcrown_graft.geometry.box import Box
from abcrown_graft.geometry.robustness import Robustness
from abcrown_graft.verify.complete import _counterexample
from abcrown_graft.verify.points import fools_alone, inside_box
from abcrown_graft.verify.problem import Batch, Subject, VerifySettings

IMAGES, LABELS = torch.tensor([[0.6, 0.5], [0.5, 0.6]]), torch.tensor([0, 1])


def batch_of(subject: Subject, robustness: Robustness | float = 0.25) -> Batch:
    return Batch(subject, VerifySettings(), cases_at(subject, IMAGES, LABELS, robustness=robustness))


class Moody(nn.Module):
    """Wrong, but only in company."""

    def forward(self, x: Tensor) -> Tensor:
        return -x if len(x) > 1 else x


@pytest.mark.parametrize(
    ("point", "fools"),
    [
        ([0.5, 0.6], True),
        ([0.55, 0.55], True),  # a tie is no correct classification
        ([0.6, 0.55], False),
        ([0.5, 0.8], False),  # one pixel is outside
        ([0.3, 0.6], False),
        ([0.0, 1.0], False),
        ([float("nan"), 0.6], False),
    ],
)
def test_a_point_counts_if_it_is_in_the_box_and_wrong(compare: Subject, point: list[float], fools: bool):
    assert fools_alone(batch_of(compare), 0, torch.tensor(point)) is fools


def test_a_point_is_judged_by_its_own_label_and_box(compare: Subject):
    batch = batch_of(compare)
    assert fools_alone(batch, 0, IMAGES[1]) and fools_alone(batch, 1, IMAGES[0])
    assert not fools_alone(batch, 0, IMAGES[0]) and not fools_alone(batch, 1, IMAGES[1])


def test_a_point_is_judged_without_the_rest_of_its_batch(compare: Subject):
    batch = batch_of(Subject(Moody(), compare.network, compare.exact))
    assert bool((batch.specification.margins(batch.subject.module(IMAGES)) <= 0).all())
    assert not fools_alone(batch, 0, IMAGES[0]) and not fools_alone(batch, 1, IMAGES[1])


def test_points_are_moved_into_the_box_of_their_image(compare: Subject):
    batch = batch_of(compare)
    found = inside_box(batch, [1, 0], torch.tensor([[9.0, -9.0], [0.5, 0.55]]))
    torch.testing.assert_close(found, torch.tensor([[0.75, 0.35], [0.5, 0.55]]))
    box = batch.specification.box
    assert (found[0].double() <= box.upper[1]).all() and (found[0].double() >= box.lower[1]).all()


def test_so_are_the_points_that_a_search_suggests(compare: Subject):
    batch = batch_of(Subject(Moody(), compare.network, compare.exact))
    assert _counterexample(batch, 0, torch.tensor([[0.6, 0.5], [0.7, 0.4]])) is None
    assert 0 not in batch.counterexamples
    batch = batch_of(compare)
    found = _counterexample(batch, 0, torch.tensor([[0.6, 0.5], [0.5, 0.6]]))
    assert found.tolist() == batch.counterexamples[0].tolist() == IMAGES[1].tolist()


def test_a_point_has_to_be_near_every_reading_of_its_image(compare: Subject):
    """The images' file says other numbers than the model is given: the ball around both is proved, near both counts."""
    read = Box(IMAGES.double() - 1e-3, IMAGES.double() - 1e-3)
    batch = batch_of(compare, Robustness(0.25, readings=lambda indices: read))
    (found,) = inside_box(batch, [0], torch.tensor([[-9.0, 9.0]]))
    torch.testing.assert_close(found, torch.tensor([0.35, 0.749]))
    assert fools_alone(batch, 0, found)
    for outside in ([0.3495, 0.7], [0.4, 0.7495]):  # in the box that is proved
        point = torch.tensor(outside).double()
        assert ((batch.specification.box.lower[0] <= point) & (point <= batch.specification.box.upper[0])).all()
        assert not fools_alone(batch, 0, point.float())
