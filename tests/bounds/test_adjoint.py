"""Pulling linear functions back: `<c, f(x)> = <pulled, x> + constant`, for every affine operator."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from abcrown_graft.bounds.adjoint import pull_back
from abcrown_graft.errors import UnsupportedError
from abcrown_graft.network import operators as op
from abcrown_graft.network.forward import apply

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (4, 6, 5)


def randn(*size: int) -> Tensor:
    return torch.randn(*size, dtype=torch.float64)


def conv(stride: int, padding: int, dilation: int, groups: int) -> op.Conv2d:
    torch.manual_seed(stride + 10 * padding + 100 * dilation)
    weight = randn(2 * groups, 4 // groups, 3, 2)
    return op.Conv2d(weight, randn(2 * groups), (stride, 1), (padding, padding), (1, dilation), groups)


OPERATORS = {
    **{f"conv {s}{p}{d}{g}": conv(s, p, d, g) for s in (1, 2, 3) for p in (0, 1) for d in (1, 2) for g in (1, 2, 4)},
    "pool": op.AvgPool2d((2, 2), (2, 2), (0, 0)),
    "overlapping pool": op.AvgPool2d((3, 2), (1, 2), (1, 1)),
    "pad": op.Pad((1, 2, 0, 3)),
    "crop": op.Pad((-1, 1, 0, -2)),
    "reshape": op.Reshape((6, 20)),
    "select": op.Select(torch.tensor([[0, 5, 5], [120, 1, 0]])),
    "transpose": op.Select(torch.arange(1, 121).view(4, 6, 5).permute(1, 2, 0)),
    "scale per channel": op.Scale(randn(4, 1, 1), randn(4, 1, 1)),
    "scale per neuron": op.Scale(randn(6, 5), randn(*SHAPE)),
    "shift by a number": op.Scale(torch.tensor(2.0).double(), torch.tensor(-1.0).double()),
    "linear": op.Linear(randn(3, 7), randn(3)),
    "linear in every row": op.Linear(randn(3, 5), randn(3)),
    "add": op.Add(),
    "concat channels": op.Concat(0),
    "concat columns": op.Concat(2),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_the_pulled_back_function_has_the_same_values(name: str):
    torch.manual_seed(1)
    operator = OPERATORS[name]
    shape = (7,) if name == "linear" else SHAPE
    shapes = (shape, shape) if isinstance(operator, (op.Add, op.Concat)) else (shape,)
    inputs = [randn(1, *s) for s in shapes]
    output = apply(operator, *inputs)
    coefficients = randn(5, *output.shape[1:])
    pulled, constant = pull_back(operator, coefficients, shapes)
    assert [p.shape for p in pulled] == [(5, *s) for s in shapes]
    found = sum((p.flatten(1) @ x.flatten() for p, x in zip(pulled, inputs, strict=True)), torch.zeros(5)) + constant
    torch.testing.assert_close(found, coefficients.flatten(1) @ output.flatten())


def test_concatenation_of_unequal_parts_is_split_where_they_meet():
    (first, second), constant = pull_back(op.Concat(0), torch.arange(6.0).view(1, 3, 2), ((1, 2), (2, 2)))
    assert (first.tolist(), second.tolist(), constant) == ([[[0, 1]]], [[[2, 3], [4, 5]]], 0)


def test_an_activation_has_no_adjoint():
    with pytest.raises(UnsupportedError, match="ReLU has no adjoint rule"):
        pull_back(op.ReLU(), torch.ones(1, 2), ((2,),))
