"""A network as a torch module."""

from __future__ import annotations

import torch
from torch import nn

from abcrown_graft.formats.onnx.module import NetworkModule
from abcrown_graft.network.trace import from_module


def test_computes_what_the_network_does_in_any_precision():
    torch.manual_seed(0)
    original = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    module = NetworkModule(from_module(original, (3,)))
    x = torch.randn(5, 3)
    torch.testing.assert_close(module(x), original(x))
    assert module.double()(x.double()).dtype == torch.float64
    assert module.to(dtype=torch.float32).eval()(x).dtype == torch.float32


def test_gradients_reach_the_input():
    module = NetworkModule(from_module(nn.Sequential(nn.Linear(3, 1)), (3,)))
    x = torch.zeros(1, 3, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None and bool(x.grad.any())
