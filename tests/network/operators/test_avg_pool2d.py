"""Average pooling, by hand; what holds for all affine operators is in `test_affine`."""

from __future__ import annotations

import pytest
import torch

from abcrown_graft.network import operators as op

pytestmark = pytest.mark.usefixtures("one_thread")


def test_padded_zeros_count():
    pooled = op.AvgPool2d((2, 2), (2, 2), (1, 1)).value(torch.full((1, 1, 2, 2), 4.0))
    assert pooled.tolist() == [[[[1, 1], [1, 1]]]]
