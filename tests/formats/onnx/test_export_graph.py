"""Names and weights of an ONNX graph under construction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto, numpy_helper

from abcrown_graft.errors import ModelError
from abcrown_graft.formats.onnx.export_graph import OnnxGraph


def test_names_never_collide_with_those_of_the_network() -> None:
    graph = OnnxGraph(9, ["a", "a.weight", "a.weight_2"])
    assert [graph.weight("a.weight", torch.zeros(1)), graph.inner("a/gate"), graph.inner("a/gate")] == [
        *("a.weight_3", "a/gate", "a/gate_2"),
    ]


def test_weights_are_float32_and_row_major() -> None:
    graph = OnnxGraph(9, [])
    graph.weight("w", torch.arange(6, dtype=torch.float64).view(2, 3).T)
    (stored,) = graph.weights
    assert stored.data_type == TensorProto.FLOAT
    assert numpy_helper.to_array(stored).tolist() == [[0, 3], [1, 4], [2, 5]]


def test_integers_are_int64() -> None:
    graph = OnnxGraph(9, [])
    graph.integers("shape", [-1, 3])
    assert numpy_helper.to_array(graph.weights[0]).dtype == np.int64


def test_a_weight_that_overflows_is_refused() -> None:
    with pytest.raises(ModelError, match="w: a weight is NaN or too large for float32"):
        OnnxGraph(9, []).weight("w", torch.tensor([1.0, 1e300], dtype=torch.float64))


def test_a_graph_has_a_batch_of_one() -> None:
    graph = OnnxGraph(9, ["x", "y"])
    graph.call("Relu", ["x"], "y")
    built = graph.build(("x", (2, 3)), ("y", (2, 3)))
    shapes = [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*built.input, *built.output)]
    assert shapes == [[1, 2, 3], [1, 2, 3]] and built.node[0].name == "y"
