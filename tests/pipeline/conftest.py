"""Digits are too small to share among threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread_for_the_pipeline() -> Iterator[None]:
    """One thread, before any fixture of these tests learns or verifies."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
