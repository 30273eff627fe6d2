"""Affine operators as matrices: the same outputs, in no more entries than announced."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from abcrown_graft.bounds.matrices import entries, matrices, shift
from abcrown_graft.errors import UnsupportedError
from abcrown_graft.network import operators as op
from abcrown_graft.network.forward import apply

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (4, 6, 5)


def randn(*size: int) -> Tensor:
    return torch.randn(*size, dtype=torch.float64)


def operators() -> dict[str, op.Operator]:
    torch.manual_seed(0)
    return {
        "conv": op.Conv2d(randn(3, 4, 3, 2), randn(3), (2, 1), (1, 0), (1, 2), 1),
        "grouped conv": op.Conv2d(randn(6, 2, 2, 2), randn(6), (1, 1), (1, 1), (2, 2), 2),
        "pool": op.AvgPool2d((3, 2), (1, 2), (1, 1)),
        "pad": op.Pad((1, 2, 0, 3)),
        "crop": op.Pad((-1, 1, 0, -2)),
        "reshape": op.Reshape((6, 20)),
        "select": op.Select(torch.tensor([[0, 5, 5], [120, 1, 0]])),
        "transpose": op.Select(torch.arange(1, 121).view(4, 6, 5).permute(1, 2, 0)),
        "scale per channel": op.Scale(randn(4, 1, 1), randn(4, 1, 1)),
        "scale per neuron": op.Scale(randn(6, 5), randn(*SHAPE)),
        "linear": op.Linear(randn(3, 5), randn(3)),
        "add": op.Add(),
        "concat channels": op.Concat(0),
        "concat columns": op.Concat(2),
    }


@pytest.mark.parametrize("name", operators())
def test_products_and_shift_are_the_operator(name: str):
    operator = operators()[name]
    inputs = [randn(1, *SHAPE) for _ in range(2 if isinstance(operator, (op.Add, op.Concat)) else 1)]
    output = apply(operator, *inputs)[0]
    found = matrices(operator, tuple(SHAPE for _ in inputs), torch.float64)
    products = sum(matrix @ x.flatten().numpy() for matrix, x in zip(found, inputs, strict=True))
    added = shift(operator, tuple(output.shape))
    torch.testing.assert_close(torch.from_numpy(products) + (0 if added is None else added), output.flatten())
    assert all(matrix.nnz <= entries(operator, tuple(output.shape)) for matrix in found)


def test_zero_weights_take_no_room():
    weight = torch.tensor([[0.0, 2.0], [0.0, 0.0]]).view(2, 2, 1, 1)
    (matrix,) = matrices(op.Conv2d(weight, torch.zeros(2), (1, 1), (0, 0), (1, 1), 1), ((2, 1, 1),), torch.float32)
    assert matrix.nnz == 1 and matrix.toarray().tolist() == [[0, 2], [0, 0]]


def test_an_activation_has_no_matrix():
    with pytest.raises(UnsupportedError, match="ReLU has no matrix"):
        matrices(op.ReLU(), ((2,),), torch.float32)
