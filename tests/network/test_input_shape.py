"""A network under another input shape computes the same."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from abcrown_graft.errors import ModelError
from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.input_shape import with_input_shape
from abcrown_graft.network.trace import from_module


def network_of(*shape: int):
    torch.manual_seed(0)
    size = torch.Size(shape).numel()
    return from_module(nn.Sequential(nn.Flatten(), nn.Linear(size, 5), nn.ReLU(), nn.Linear(5, 3)), shape)


@pytest.mark.parametrize(
    ("inner", "shape"),
    [
        ((12,), (3, 2, 2)),
        ((12,), (12,)),
        ((12, 1), (1, 3, 4)),
        ((3, 1, 4), (3, 4)),
        ((1, 3, 4), (3, 4)),
        ((1,), (1, 1)),
    ],
)
def test_the_numbers_keep_their_order(inner, shape):
    plain = network_of(*inner)
    found = with_input_shape(plain, shape)
    assert found.input.shape == shape and found.output.shape == plain.output.shape
    x = torch.rand(4, *shape)
    torch.testing.assert_close(evaluate(found, x), evaluate(plain, x.reshape(4, *inner)))
    assert list(found.sites) == list(plain.sites)


@pytest.mark.parametrize(
    ("inner", "shape"), [((2, 2, 3), (3, 2, 2)), ((12,), (13,)), ((4, 3), (12,)), ((2, 3, 4), (6, 4))]
)
def test_what_would_be_rearranged_is_refused(inner, shape):
    with pytest.raises(ModelError, match=r"the network takes .* without being rearranged"):
        with_input_shape(network_of(*inner), shape)
