from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from abcrown_graft.network.trace import from_module
from abcrown_graft.verify.problem import Subject


@pytest.fixture(scope="module", autouse=True)
def small_networks(one_thread: None) -> None:
    """These networks are too small to share among threads."""


@pytest.fixture(scope="session")
def subject_of() -> Callable[..., Subject]:
    """Makes a subject of a module without normalisation."""

    def make(module: nn.Module, inputs: int = 2, double: bool = False) -> Subject:
        return Subject.prepare(module, from_module(module, (inputs,)), "cpu", double)

    return make


@pytest.fixture(scope="session")
def layers_of() -> Callable[..., nn.Sequential]:
    """Makes linear layers of (weight, bias) lists with ReLUs between them."""

    def make(*layers: tuple[list[list[float]], list[float]]) -> nn.Sequential:
        modules: list[nn.Module] = []
        for weight, bias in layers:
            linear = nn.Linear(len(weight[0]), len(weight))
            linear.weight.data, linear.bias.data = torch.tensor(weight), torch.tensor(bias)
            modules += [linear, nn.ReLU()]
        return nn.Sequential(*modules[:-1]).requires_grad_(False)

    return make


@pytest.fixture
def compare(layers_of, subject_of) -> Subject:
    """The classifier that says which of two pixels is larger: the margin of class 0 is x₀ - x₁."""
    return subject_of(layers_of(([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])))
