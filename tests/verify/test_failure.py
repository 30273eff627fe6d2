"""What an exception says of the instance that it ended."""

from __future__ import annotations

import pytest
import torch

from abcrown_graft.verdict import Verdict
from abcrown_graft.verify.failure import failure, verdict_of


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (MemoryError(), Verdict.OUT_OF_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory"), Verdict.OUT_OF_MEMORY),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), Verdict.ERROR),
        (TimeoutError(), Verdict.ERROR),
    ],
)
def test_a_crash_is_never_a_timeout_or_unknown(error: Exception, verdict: Verdict) -> None:
    assert verdict_of(error) is verdict


@pytest.mark.parametrize(
    ("error", "words"), [(ValueError("no\nway"), "ValueError: no"), (KeyError(), "KeyError: no message")]
)
def test_it_has_one_line(error: Exception, words: str) -> None:
    assert failure(error) == words
