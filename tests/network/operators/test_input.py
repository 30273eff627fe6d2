"""The input has no rules."""

from __future__ import annotations

import pytest
import torch

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.network import operators as op


def test_it_cannot_be_asked_for_a_value():
    with pytest.raises(UnsupportedError, match="operator Input stands first"):
        op.Input().value(torch.zeros(1))
