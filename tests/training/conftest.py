"""A small network and images for it; one thread, as sharing so little work is slower and unsteady."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def model() -> nn.Module:
    """Small, with batch norm: it tells train from eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 6), nn.ReLU(), nn.Linear(6, 3)
        )


@pytest.fixture
def images() -> Tensor:
    """Of `model`; many pixels are black or white."""
    inner = torch.rand(8, 2, 5, 5, generator=torch.Generator().manual_seed(1))
    return (inner * 1.4 - 0.2).clamp(0, 1)


@pytest.fixture
def labels() -> Tensor:
    return torch.arange(8) % 3
