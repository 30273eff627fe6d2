from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from abcrown_graft.bounds.literals import literal_lower_bounds, literal_lower_lines
from abcrown_graft.bounds.propagate import bound_network
from abcrown_graft.geometry.box import Box
from abcrown_graft.geometry.robustness import Robustness
from abcrown_graft.geometry.specification import Specification
from abcrown_graft.network.trace import from_module

IMAGES = torch.tensor([[[[0.2, 0.9]]], [[[0.0, 0.5]]]])
LABELS = torch.tensor([1, 2])
OUTPUTS = torch.tensor([[3.0, 9.0, 4.0, 1.0], [2.0, 7.0, 8.0, 7.5]])


def made(**options) -> Specification:
    return Robustness(**{"epsilon": 0.25, **options})(IMAGES, LABELS, [1, 0], 4)


def test_every_other_class():
    found = made()
    assert found.rows.shape == (2, 3, 1, 4) and found.rows.dtype == torch.float64
    assert found.margins(OUTPUTS).tolist() == [5.0, 0.5]
    torch.testing.assert_close(found.box.lower[0].flatten(), torch.tensor([0.0, 0.65]).double())
    torch.testing.assert_close(found.box.upper[0].flatten(), torch.tensor([0.45, 1.0]).double())


def test_the_likeliest_other_class_alone():
    robustness = Robustness(0.25, "runnerup")
    assert robustness.nearest and not Robustness(0.25).nearest
    found = robustness(IMAGES, LABELS, [1, 0], 4).nearest(OUTPUTS)
    assert found.rows.squeeze().tolist() == [[0, 1, -1, 0], [0, 0, 1, -1]]
    assert found.offsets.shape == (2, 1, 1) and len(found.box) == 2


def test_the_target_of_each_image_by_its_number():
    found = made(kind="specify-target", targets=torch.tensor([3, 0]))
    assert found.rows.squeeze().tolist() == [[-1, 1, 0, 0], [0, 0, 1, -1]]


def test_the_image_itself():
    found = made(kind="clean-acc")
    assert torch.equal(found.box.lower, IMAGES.double()) and torch.equal(found.box.upper, IMAGES.double())


def test_every_output_is_positive():
    found = made(kind="all-positive")
    assert found.margins(OUTPUTS).tolist() == [1.0, 2.0]
    assert found.margins(-OUTPUTS).tolist() == [-9.0, -8.0]


def test_bounds_of_each_image_by_its_number():
    lower, upper = torch.rand(2, 1, 1, 2).double() - 1, torch.rand(2, 1, 1, 2).double() + 1
    found = made(epsilon=None, lower=lower, upper=upper)
    assert torch.equal(found.box.lower, lower.flip(0)) and torch.equal(found.box.upper, upper.flip(0))


def clauses() -> Specification:
    """(y0 - 1 or y1) and (y0 + y1 + 2 or y0 + y1 + 2) for an input of one number."""
    rows = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]]]]).double()
    offsets = torch.tensor([[[-1.0, 0.0], [2.0, 2.0]]]).double()
    point = torch.zeros(1, 1).double()
    return Specification(Box(point - 1, point + 1), rows, offsets)


@pytest.mark.parametrize(
    "outputs, margin", [((0.5, 0.25), 0.25), ((1.5, -9.0), -5.5), ((0.5, -0.25), -0.25), ((math.nan, 1.0), math.inf)]
)
def test_a_margin_is_the_smallest_clause_and_a_clause_its_largest_literal(outputs, margin):
    assert clauses().margins(torch.tensor([outputs]).double()).item() == margin


def test_bounds_of_literals_count_their_constants_and_hold():
    torch.manual_seed(0)
    network = from_module(nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 2)).double(), (1,))
    given = clauses()
    for method in ("interval", "crown"):
        found = literal_lower_bounds(bound_network(network, given.box, method, rigorous=True), given, method)
        plain = literal_lower_bounds(
            bound_network(network, given.box, method, rigorous=True),
            Specification(given.box, given.rows, 0 * given.offsets),
            method,
        )
        torch.testing.assert_close(found, plain + given.offsets)
        assert (found <= plain + given.offsets).all() and (found < plain + given.offsets)[given.offsets != 0].all()


@pytest.mark.parametrize("options", [{"epsilon": None}, {"epsilon": None, "lower": IMAGES}, {"kind": "specify-target"}])
def test_robustness_without_a_radius_or_targets_is_refused(options):
    """A radius that is missing must not become zero: a point is easily proved."""
    with pytest.raises(ValueError, match="needs"):
        made(**options)


def test_lines_are_those_of_the_bounds():
    found = clauses()
    bounds = bound_network(from_module(nn.Sequential(nn.Linear(1, 2)).double().requires_grad_(False), (1,)), found.box)
    coefficients, lower = literal_lower_lines(bounds, found)
    assert torch.equal(lower, literal_lower_bounds(bounds, found, "crown"))
    assert coefficients.shape == (*found.offsets.shape, 1)


def test_specifications_in_a_row():
    found = made()
    both = Specification.cat([found[:1], found[1:], found[:1]])
    assert len(both) == 3
    assert torch.equal(both.rows[1:], made()[torch.tensor([1, 0])].rows)
    assert torch.equal(both.box.upper[1], found.box.upper[1]) and torch.equal(both.offsets[:2], found.offsets)


def test_the_nearest_clause_is_the_one_that_is_smallest_with_all_its_literals():
    """At (1, 5) the clauses are 5 and 8, at (-3, 0.5) they are 0.5 and -0.5."""
    twice = Specification.cat([clauses(), clauses()])
    found = twice.nearest(torch.tensor([[1.0, 5.0], [-3.0, 0.5]]))
    assert found.rows.tolist() == [[[[1, 0], [0, 1]]], [[[1, 1], [1, 1]]]]
    assert found.offsets.tolist() == [[[-1, 0]], [[2, 2]]]


def test_different_numbers_of_clauses_and_literals_are_filled_up_and_mean_the_same():
    """Beside two clauses of two literals stand three of one: y0 + 5, y1 + 5 and y0 - 1."""
    rows = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 0.0]]]]).double()
    three = Specification(clauses().box, rows, torch.tensor([[[5.0], [5.0], [-1.0]]]).double())
    both = Specification.cat([three, clauses()])
    assert both.rows.shape == (2, 3, 2, 2) and len(both.box) == 2
    for outputs in ((3.0, 9.0), (-3.0, 0.5), (9.0, -7.0), (1.5, -9.0)):
        twice = torch.tensor([outputs, outputs]).double()
        assert both.margins(twice).tolist() == [*three.margins(twice[:1]), *clauses().margins(twice[:1])]


def test_on_another_device_it_is_the_same():
    moved = clauses().on("meta")
    assert {str(part.device) for part in (moved.box.lower, moved.box.upper, moved.rows, moved.offsets)} == {"meta"}
    assert moved.rows.dtype == torch.float64 and moved.rows.shape == clauses().rows.shape


def test_an_output_just_beside_a_threshold_is_judged_in_float64() -> None:
    """0.1 in float32 is larger than 0.1: `Y_0 <= 0.1` is not reached, though it is if the threshold is rounded."""
    box = Box(torch.zeros(1, 1).double(), torch.ones(1, 1).double())
    rows, offsets = torch.ones(1, 1, 1, 1).double(), torch.full((1, 1, 1), -0.1, dtype=torch.float64)
    assert float(Specification(box, rows, offsets).margins(torch.tensor([[0.1]]))) > 0


def test_the_place_of_counterexamples_goes_along() -> None:
    found = made()
    alone = clauses()
    assert found.inner is not None and alone.inside is alone.box
    assert torch.equal(found[1:].inside.lower, found.inside.lower[1:])
    both = Specification.cat([found[1:], Specification(found[:1].box, found[:1].rows, found[:1].offsets)])
    assert torch.equal(both.inside.lower[0], found.inside.lower[1]), "its own"
    assert torch.equal(both.inside.lower[1], found.box.lower[0]), "that of one without is its box"
    assert Specification.cat([clauses(), clauses()]).inner is None


def test_the_box_of_a_search_in_float32_holds_the_exact_one() -> None:
    exact, found = made().box, made().to(torch.float32).box
    assert found.lower.dtype == torch.float32
    assert (found.lower.double() <= exact.lower).all() and (found.upper.double() >= exact.upper).all()
    assert (found.lower.double() < exact.lower).any() and (found.upper.double() > exact.upper).any()
