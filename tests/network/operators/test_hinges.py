"""The lines of a relaxation lie on the right side of the activation, everywhere in the interval."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from abcrown_graft.geometry.box import Box
from abcrown_graft.network import operators as op
from abcrown_graft.network.relaxation import Relaxation

pytestmark = pytest.mark.usefixtures("one_thread")

ENDS = [
    (-1.0, 2.0), (-2.0, 1.0), (-1.0, 1.0), (0.5, 2.0), (-2.0, -0.5),  # unstable and stable
    (0.0, 0.0), (1.0, 1.0), (-1.0, -1.0), (0.0, 1.0), (-1.0, 0.0),  # degenerate, or zero at an end
    (-1e-300, 1e-300), (-1e-320, 1e-320), (-5e-324, 1.0), (-1.0, 5e-324), (-1e-16, 1e-16),  # tiny
    (-1e300, 1e300), (-1.7e308, 1.7e308), (-1e-300, 1e300), (-1e300, 1e-300), (3.0, 1.7e308),  # huge
]  # fmt: skip


def grafted(mask: list[bool], slope: float, intercept: float) -> op.GraftedReLU:
    mask_tensor = torch.tensor(mask)
    values = torch.full(mask_tensor.shape, slope, dtype=torch.float64)
    return op.GraftedReLU(mask_tensor, values, torch.full_like(values, intercept))


HINGES = {
    "ReLU": op.ReLU(),
    "LeakyReLU 0.1": op.LeakyReLU(0.1),
    "LeakyReLU 0": op.LeakyReLU(0.0),
    "LeakyReLU 1": op.LeakyReLU(1.0),
    "ungrafted": grafted([False], 0.4, 0.3),
}
LINES = {"grafted": grafted([True], 0.4, 0.3), "falling": grafted([True], -0.75, 0.5), "pruned": grafted([True], 0, 0)}


def lines_at(lower: float, upper: float, operator: op.Activation) -> list[Fraction]:
    z = Box(torch.tensor([[lower]], dtype=torch.float64), torch.tensor([[upper]], dtype=torch.float64))
    return [Fraction(line.item()) for line in vars(operator.relax(z)).values()]


def grid(lower: float, upper: float) -> Tensor:
    share = torch.linspace(0, 1, 41, dtype=torch.float64)
    special = torch.tensor([lower, upper, min(max(0.0, lower), upper)], dtype=torch.float64)
    return torch.cat([special, (special[0] * (1 - share) + special[1] * share).clamp(lower, upper)])


def assert_encloses(operator: op.Activation, lower: float, upper: float) -> None:
    """Exact rational arithmetic; slopes and intercepts may be a few roundings off, relative to their terms."""
    below, low_intercept, above, up_intercept = lines_at(lower, upper, operator)
    points = grid(lower, upper)
    values = operator.value(points.unsqueeze(1)).squeeze(1)
    for z, f in zip(map(Fraction, points.tolist()), map(Fraction, values.tolist()), strict=True):
        slack = Fraction(2) ** -50 * (abs(f) + abs(z) + max(abs(Fraction(lower)), abs(up_intercept)))
        slack = slack if max(-lower, upper) > 1e-290 else 4 * slack + Fraction(5e-324)
        assert below * z + low_intercept <= f + slack, (float(z), float(f))
        assert above * z + up_intercept >= f - slack, (float(z), float(f))


@pytest.mark.parametrize("ends", ENDS, ids=str)
@pytest.mark.parametrize("name", [*HINGES, *LINES])
def test_lines_enclose_the_activation(name: str, ends: tuple[float, float]):
    assert_encloses((HINGES | LINES)[name], *ends)


@given(st.sampled_from([*HINGES]), st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2).map(sorted))
def test_lines_enclose_the_activation_on_random_intervals(name: str, ends: list[float]):
    assert_encloses(HINGES[name], *ends)


@pytest.mark.parametrize("name", HINGES)
@pytest.mark.parametrize("ends", [(0.0, 2.0), (0.5, 2.0), (1.0, 1.0), (-2.0, -0.5), (-2.0, 0.0)], ids=str)
def test_a_stable_neuron_gets_its_exact_line_twice(name: str, ends: tuple[float, float]):
    operator = HINGES[name]
    slope = 1.0 if ends[0] >= 0 else getattr(operator, "negative_slope", 0.0)
    assert lines_at(*ends, operator) == [slope, 0, slope, 0]


@pytest.mark.parametrize("ends", ENDS, ids=str)
def test_a_grafted_neuron_gets_its_own_line_twice(ends: tuple[float, float]):
    assert lines_at(*ends, LINES["falling"]) == [-0.75, 0.5, -0.75, 0.5]


@pytest.mark.parametrize(
    ("ends", "slope", "expected"),
    [
        ((-1.0, 3.0), 0.0, [1, 0, 0.75, 0.75]),  # wider above zero: identity below; chord (z + 1) * 3/4
        ((-3.0, 1.0), 0.0, [0, 0, 0.25, 0.75]),  # wider below zero: zero below
        ((-2.0, 2.0), 0.0, [0, 0, 0.5, 1.0]),
        ((-1.0, 3.0), 0.5, [1, 0, 0.875, 0.375]),  # through (-1, -1/2) and (3, 3)
        ((-3.0, 1.0), 0.5, [0.5, 0, 0.625, 0.375]),
    ],
)
def test_hand_computed_lines(ends: tuple[float, float], slope: float, expected: list[float]):
    assert lines_at(*ends, op.LeakyReLU(slope)) == expected


def test_grafted_and_other_neurons_of_one_layer_get_their_own_lines():
    z = Box(-torch.ones(2, 2).double(), torch.ones(2, 2).double())
    lines = grafted([True, False], 0.25, 2.0).relax(z)
    assert lines.upper_slope.tolist() == [[0.25, 0.5]] * 2
    assert lines.upper_intercept.tolist() == [[2.0, 0.5]] * 2
    assert lines.lower_intercept.tolist() == [[2.0, 0.0]] * 2


def test_unknown_ends_give_unknown_lines():
    nan = torch.tensor([[float("nan")]])
    lines = op.ReLU().relax(Box(nan, torch.ones(1, 1)))
    assert (lines.upper_slope.isnan() | lines.upper_intercept.isnan()).all()


def test_indexing_picks_the_lines_of_images():
    lines = Relaxation(*(torch.arange(3.0).view(3, 1) + k for k in range(4)))
    assert lines[torch.tensor([2])].upper_intercept.tolist() == [[5.0]]


def test_slopes_of_an_unstable_and_of_stable_neurons():
    z = Box(torch.tensor([[-1.0, 0.0, -2.0]]), torch.tensor([[1.0, 2.0, 0.0]]))
    for operator, low in ((op.ReLU(), 0.0), (op.LeakyReLU(0.25), 0.25)):
        found = operator.slopes(z)
        assert found.lower.tolist() == [[low, 1, low]] and found.upper.tolist() == [[1, 1, low]]
