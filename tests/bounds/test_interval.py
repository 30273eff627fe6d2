"""Interval rules: sound and attained, operator by operator."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from abcrown_graft.bounds.interval import interval
from abcrown_graft.errors import UnsupportedError
from abcrown_graft.geometry.box import Box
from abcrown_graft.network import operators as op
from abcrown_graft.network.forward import apply

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (2, 5, 4)


def randn(*size: int) -> Tensor:
    return torch.randn(*size, dtype=torch.float64)


def operators() -> dict[str, op.Operator]:
    torch.manual_seed(0)
    mask = torch.rand(SHAPE) < 0.5
    return {
        "conv": op.Conv2d(randn(3, 2, 3, 2), randn(3), (2, 1), (1, 0), (1, 1), 1),
        "grouped conv": op.Conv2d(randn(4, 1, 2, 2), randn(4), (1, 1), (1, 1), (2, 2), 2),
        "pool": op.AvgPool2d((2, 2), (1, 2), (1, 0)),
        "pad": op.Pad((1, 0, 2, 1)),
        "crop": op.Pad((-1, 0, 0, -2)),
        "reshape": op.Reshape((40,)),
        "select": op.Select(torch.tensor([[0, 5, 5], [40, 1, 0]])),
        "scale": op.Scale(randn(2, 1, 1), randn(*SHAPE)),
        "relu": op.ReLU(),
        "leaky": op.LeakyReLU(0.3),
        "grafted": op.GraftedReLU(mask, randn(*SHAPE), randn(*SHAPE)),
        "linear": op.Linear(randn(3, 7), randn(3)),
        "add": op.Add(),
        "concat": op.Concat(1),
    }


def inputs_of(name: str) -> list[Box]:
    shape = (7,) if name == "linear" else SHAPE
    boxes = []
    for _ in range(2 if name in ("add", "concat") else 1):
        centre, radius = randn(3, *shape), torch.rand(3, *shape, dtype=torch.float64)
        boxes.append(Box(centre - radius, centre + radius))
    return boxes


@pytest.mark.parametrize("name", operators())
def test_outputs_lie_inside_and_come_close_to_both_ends(name: str):
    operator, boxes = operators()[name], inputs_of(name)
    found = interval(operator, *boxes)
    least, most = torch.full_like(found.lower, torch.inf), torch.full_like(found.upper, -torch.inf)
    for _ in range(300):
        points = [torch.where(torch.rand_like(b.lower) < 0.5, b.lower, b.upper) for b in boxes]
        y = apply(operator, *points)
        least, most = torch.minimum(least, y), torch.maximum(most, y)
    slack = 1e-12
    assert (least >= found.lower - slack).all() and (most <= found.upper + slack).all()
    width = found.upper - found.lower
    assert ((most - least) >= 0.6 * width - slack).all()


@pytest.mark.parametrize("name", operators())
def test_a_box_of_one_point_is_mapped_to_its_value(name: str):
    operator, boxes = operators()[name], [Box(b.lower, b.lower) for b in inputs_of(name)]
    found, value = interval(operator, *boxes), apply(operators()[name], *(b.lower for b in boxes))
    torch.testing.assert_close(found.lower, value)
    torch.testing.assert_close(found.upper, value)


def test_hand_computed_linear():
    operator = op.Linear(torch.tensor([[2.0, -3.0]]), torch.tensor([1.0]))
    found = interval(operator, Box(torch.tensor([[-1.0, 0.0]]), torch.tensor([[1.0, 2.0]])))
    assert (found.lower.item(), found.upper.item()) == (-7, 3)  # 2·(-1) - 3·2 + 1, 2·1 - 3·0 + 1


def test_hand_computed_grafted_relu_with_a_falling_line():
    operator = op.GraftedReLU(torch.tensor([True, False]), torch.tensor([-2.0, 9.0]), torch.tensor([1.0, 9.0]))
    found = interval(operator, Box(torch.tensor([[-1.0, -1.0]]), torch.tensor([[3.0, 3.0]])))
    assert (found.lower.tolist(), found.upper.tolist()) == ([[-5, 0]], [[3, 3]])


def test_an_operator_without_a_rule_is_named():
    with pytest.raises(UnsupportedError, match="Input has no interval rule"):
        interval(op.Input(), Box(torch.zeros(1), torch.ones(1)))
