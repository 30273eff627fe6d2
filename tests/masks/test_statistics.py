from __future__ import annotations

import pytest
import torch

from abcrown_graft.masks.statistics import total


def test_batches_are_added_site_by_site() -> None:
    batches = [{"a": (torch.tensor([k]), torch.tensor([10 * k])), "b": (torch.tensor([k, -k]),)} for k in (1, 2, 3)]
    sums = total(batches)
    assert list(sums) == ["a", "b"]
    assert [part.tolist() for part in (*sums["a"], *sums["b"])] == [[6], [60], [6, -6]]


def test_no_batches_have_no_sums_and_uneven_ones_are_an_error() -> None:
    assert total([]) == {}
    with pytest.raises(ValueError, match="zip"):
        total([{"a": (torch.ones(1),)}, {"a": (torch.ones(1), torch.ones(1))}])
