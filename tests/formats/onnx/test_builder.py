"""The network under construction: names, shapes, limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from abcrown_graft.errors import ModelError, UnsupportedError
from abcrown_graft.formats.onnx import builder as limits
from abcrown_graft.formats.onnx.builder import Builder, check_size
from abcrown_graft.network import operators as op


@pytest.fixture
def builder() -> Builder:
    """One whose file has tensors called x and y."""
    return Builder("x", (2, 3), np.dtype(np.float32), {"x", "y"})


def test_shapes_follow_from_the_operators(builder: Builder):
    builder.add("rows", op.Linear(torch.ones(4, 3).double(), torch.ones(4).double()), "x")
    assert builder.node("rows").shape == (2, 4)
    assert [node.shape for node in builder.network("rows").nodes] == [(2, 3), (2, 4), (8,)]


def test_the_same_layout_is_the_same_node(builder: Builder):
    assert builder.laid_out("x", (2, 3)) == "x"
    assert builder.laid_out("x", (6,)) == builder.laid_out("x", (6,)) == "x/6"
    assert builder.laid_out("x", (3, 2)) == "x/3x2"


def test_names_of_the_files_tensors_are_kept_for_them(builder: Builder):
    assert builder.unused("y") == "y_2"
    builder.add("free", op.ReLU(), "x")
    assert builder.unused("free") == "free_2"
    with pytest.raises(ValueError, match="two nodes of the network would be called 'free'"):
        builder.add("free", op.ReLU(), "x")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_constants_are_finite(builder: Builder, value: float):
    with pytest.raises(ModelError, match="NaN or infinite"):
        builder.add("scaled", op.Scale(torch.tensor(value), torch.tensor(0.0)), "x")


def test_what_does_not_fit_is_torchs_error(builder: Builder):
    with pytest.raises(RuntimeError):
        builder.add("rows", op.Linear(torch.ones(4, 5).double(), torch.ones(4).double()), "x")


def test_tensors_of_absurd_size(builder: Builder, monkeypatch: pytest.MonkeyPatch):
    check_size((2**12, 2**12))
    with pytest.raises(UnsupportedError, match="larger than supported"):
        check_size((2**12, 2**12, 2))
    with pytest.raises(ModelError, match="empty"):
        check_size((3, 0))
    monkeypatch.setattr(limits, "MAX_IN_ALL", 10)
    builder.add("first", op.ReLU(), "x")
    with pytest.raises(UnsupportedError, match="more than 10 numbers in all"):
        builder.add("second", op.ReLU(), "x")
