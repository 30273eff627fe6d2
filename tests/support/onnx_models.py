"""Small ONNX models for tests, and the judgement of what the reader makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from oracles import assert_sound, random_points

from abcrown_graft.bounds.propagate import bound_network
from abcrown_graft.formats.onnx.reader import OnnxNetwork, read_onnx
from abcrown_graft.formats.onnx.runtime import check_against_onnxruntime
from abcrown_graft.geometry.box import Box
from abcrown_graft.network.forward import evaluate

IR_VERSION = 8


def node(kind: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    """A node; the names of its tensors are separated by blanks, `_` is one that is left out."""
    names = ["" if name == "_" else name for name in inputs.split()]
    return helper.make_node(kind, names, outputs.split(), f"the {kind} of {outputs}", **attributes)


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    """Random numbers of both signs in float32."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def integers(*values: int) -> np.ndarray:
    """A vector of int64."""
    return np.array(values, dtype=np.int64)


def model_of(
    *nodes: onnx.NodeProto,
    shape: tuple[int | str | None, ...],
    output: tuple[int | str | None, ...] = ("n", "m"),
    opset: int = 13,
    kind: int = TensorProto.FLOAT,
    **arrays: np.ndarray,
) -> onnx.ModelProto:
    """A model from x to y, of the given shapes; a name in place of a size leaves it open."""
    graph = helper.make_graph(
        list(nodes),
        "network",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, output)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION)


def saved(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    """The model as a file."""
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def box_around(network: OnnxNetwork, batch: int = 2, radius: float = 1.0, seed: int = 0) -> Box:
    """Boxes of the given radius around random points, in float64."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.randn(batch, *network.network.input.shape, generator=generator, dtype=torch.float64)
    return Box(centre - radius, centre + radius)


def assert_read(model: onnx.ModelProto, folder: Path) -> OnnxNetwork:
    """The network that is read equals onnxruntime's, is no constant, and its bounds hold at random points."""
    pytest.importorskip("onnxruntime")
    path = saved(model, folder)
    found = read_onnx(path)
    box = box_around(found)
    assert check_against_onnxruntime(found, path, box, n=20) < 1e-5
    values = evaluate(found.network, random_points(box, 50).flatten(0, 1))
    assert np.ptp(values.numpy(), axis=0).max() > 0.01, "a constant says nothing"
    assert_bounded(found, box)
    return found


def assert_bounded(found: OnnxNetwork, box: Box, count: int = 200) -> None:
    """Interval and CROWN bounds of the network, in both precisions, hold at random points."""
    points = random_points(box, count)
    for method in ("interval", "crown"):
        assert_sound(bound_network(found.network, box, method, rigorous=True), points, tolerance=1e-12)
    single = bound_network(found.network.to(dtype=torch.float32), box.to(dtype=torch.float32))
    assert_sound(single, points, tolerance=1e-4)
