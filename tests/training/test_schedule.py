"""Learning-rate factors agree with torch's schedulers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR

from abcrown_graft.training.schedule import cosine_factor, milestone_factor


def rates(make: Callable[[SGD], LRScheduler], epochs: int) -> list[float]:
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, seen = make(optimizer), []
    for _ in range(epochs):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_milestones() -> None:
    expected = rates(lambda optimizer: MultiStepLR(optimizer, [3, 5], 0.1), 8)
    assert [milestone_factor(epoch, (3, 5), 0.1) for epoch in range(8)] == pytest.approx(expected)


def test_cosine() -> None:
    expected = rates(lambda optimizer: CosineAnnealingLR(optimizer, 7), 7)
    assert [cosine_factor(epoch, 7) for epoch in range(7)] == pytest.approx(expected)


def test_the_published_schedule() -> None:
    factors = [milestone_factor(epoch, (100, 150), 0.1) for epoch in (0, 99, 100, 149, 150, 199)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
