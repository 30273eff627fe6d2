"""Damaged files: whatever is read equals onnxruntime's function, anything else is an error of ours in one line."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from onnx_models import box_around, integers, model_of, node, weights

from abcrown_graft.bounds.propagate import bound_network
from abcrown_graft.errors import AbcrownGraftError
from abcrown_graft.formats.onnx.reader import OnnxNetwork, read_onnx
from abcrown_graft.formats.onnx.runtime import OnnxruntimeModule
from abcrown_graft.geometry.box import Box
from abcrown_graft.network.forward import evaluate

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.usefixtures("one_thread")

EXAMPLES = int(os.environ.get("ONNX_FUZZ_EXAMPLES", "150"))
KINDS = {TensorProto.FLOAT: np.float32, TensorProto.INT64: np.int64}
SMALL = (-2, -1, 0, 1, 2, 3, 4, 7, 2**31, -(2**62))


def convolutional() -> onnx.ModelProto:
    return model_of(
        node("Sub", "x mean", "0"),
        node("Conv", "0 k b", "1", pads=[1, 1, 1, 1], strides=[2, 1], group=2),
        node("BatchNormalization", "1 g h m v", "2", epsilon=0.01),
        node("Relu", "2", "3"),
        node("MaxPool", "3", "4", kernel_shape=[2, 2], strides=[1, 2], pads=[1, 0, 0, 0]),
        node("Transpose", "4", "5", perm=[0, 2, 3, 1]),
        node("Slice", "5 s e a", "6"),
        node("Pad", "6 p", "7"),
        node("AveragePool", "7", "8", kernel_shape=[1, 2]),
        node("Flatten", "8", "9"),
        node("Gemm", "9 w c", "y", transB=1),
        shape=("n", 2, 4, 4), mean=weights(2, 1, 1), k=weights(4, 1, 3, 3), b=weights(4), g=weights(4), h=weights(4),
        m=weights(4), v=np.abs(weights(4)), s=integers(0), e=integers(2), a=integers(1),
        p=integers(0, 0, 1, 0, 0, 0, 0, 0), w=weights(3, 18), c=weights(3),
    )  # fmt: skip


def dense() -> onnx.ModelProto:
    return model_of(
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n"),
        node("Unsqueeze", "n axis", "ns"),
        node("Concat", "ns rest", "shape", axis=0),
        node("Reshape", "x shape", "0"),
        node("MatMul", "0 w", "1"),
        node("Add", "1 b", "2"),
        node("Clip", "2 low high", "3"),
        node("Where", "m 3 b", "4"),
        node("LeakyRelu", "4", "5", alpha=0.2),
        node("Concat", "5 b2 0", "6", axis=1),
        node("Squeeze", "6 axis", "7"),
        node("Gather", "7 places", "8"),
        node("Div", "8 d", "y"),
        shape=(1, 2, 3), output=("n",), zero=np.array(0), axis=integers(0), rest=integers(-1), w=weights(6, 4),
        b=weights(4), low=np.float32(0.0).reshape(()), high=np.float32(2).reshape(()),
        m=np.array([True, True, False, True]), b2=weights(1, 2), places=integers(5, 1, 0, -1, 2), d=weights(5) + 4,
    )  # fmt: skip


MODELS = [convolutional().SerializeToString(), dense().SerializeToString()]


@st.composite
def damaged_bytes(draw: st.DrawFn) -> bytes:
    """A file with bytes changed, left out or repeated, or cut off."""
    content = bytearray(draw(st.sampled_from(MODELS)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(content) - 1))
        match draw(st.sampled_from(["change", "flip", "delete", "repeat", "cut"])):
            case "change":
                content[at] = draw(st.integers(0, 255))
            case "flip":
                content[at] ^= 1 << draw(st.integers(0, 7))
            case "delete":
                del content[max(at, 1) : at + draw(st.integers(1, 8))]
            case "repeat":
                content[at:at] = content[at : at + draw(st.integers(1, 8))]
            case "cut":
                del content[max(at, 1) :]
    return bytes(content)


@st.composite
def damaged_graphs(draw: st.DrawFn) -> bytes:
    """A file whose nodes, attributes, wires, shapes or constants are other ones."""
    model = onnx.load_model_from_string(draw(st.sampled_from(MODELS)))
    for _ in range(draw(st.integers(1, 2))):
        draw(st.sampled_from([_other_operator, _other_wire, _other_attribute, _other_constant, _other_shape]))(
            draw, model
        )
    return model.SerializeToString()


def _other_operator(draw: st.DrawFn, model: onnx.ModelProto) -> None:
    kinds = sorted({node.op_type for node in model.graph.node} | {"Mul", "Sub", "Tanh", "Identity", "Dropout"})
    draw(st.sampled_from(list(model.graph.node))).op_type = draw(st.sampled_from(kinds))


def _other_wire(draw: st.DrawFn, model: onnx.ModelProto) -> None:
    known = [*(t.name for t in model.graph.initializer), *(n.output[0] for n in model.graph.node), "x", "", "nothing"]
    target = draw(st.sampled_from(list(model.graph.node)))
    target.input[draw(st.integers(0, len(target.input) - 1))] = draw(st.sampled_from(known))


def _other_attribute(draw: st.DrawFn, model: onnx.ModelProto) -> None:
    attributes = [a for node in model.graph.node for a in node.attribute]
    chosen = draw(st.sampled_from(attributes))
    match chosen.type:
        case onnx.AttributeProto.INTS:
            chosen.ints[draw(st.integers(0, len(chosen.ints) - 1))] = draw(st.sampled_from(SMALL))
        case onnx.AttributeProto.INT:
            chosen.i = draw(st.sampled_from(SMALL))
        case onnx.AttributeProto.FLOAT:
            chosen.f = draw(st.sampled_from([-1.0, 0.0, 0.5, 2.0, float("nan"), float("inf")]))


def _other_constant(draw: st.DrawFn, model: onnx.ModelProto) -> None:
    chosen = draw(st.sampled_from([t for t in model.graph.initializer if t.data_type in KINDS]))
    match draw(st.sampled_from(["number", "shape", "type"])):
        case "number":
            array = np.frombuffer(chosen.raw_data, KINDS[chosen.data_type]).copy()
            at = draw(st.integers(0, array.size - 1))
            real = st.sampled_from([0.0, -1.0, 1e4, float("nan"), float("inf")])
            array[at] = draw(real if array.dtype == np.float32 else st.sampled_from(SMALL))
            chosen.raw_data = array.tobytes()
        case "shape":
            chosen.dims[:] = draw(st.lists(st.integers(0, 4), max_size=4))
        case "type":
            chosen.data_type = draw(st.sampled_from([TensorProto.INT32, TensorProto.DOUBLE, TensorProto.BOOL, 99]))


def _other_shape(draw: st.DrawFn, model: onnx.ModelProto) -> None:
    value = draw(st.sampled_from([model.graph.input[0], model.graph.output[0]]))
    axis = draw(st.sampled_from(list(value.type.tensor_type.shape.dim)))
    axis.dim_value = draw(st.sampled_from(SMALL))


@given(damaged_bytes())
@settings(max_examples=EXAMPLES)
def test_damaged_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes):
    assert_read_or_refused(content, tmp_path_factory.getbasetemp())


@given(damaged_graphs())
@settings(max_examples=EXAMPLES)
def test_damaged_graphs(tmp_path_factory: pytest.TempPathFactory, content: bytes):
    assert_read_or_refused(content, tmp_path_factory.getbasetemp())


def assert_read_or_refused(content: bytes, folder: Path) -> None:
    """The file is refused by the reader or by onnxruntime, or both compute the same."""
    path = folder / "damaged.onnx"
    path.write_bytes(content)
    try:
        found = read_onnx(path)
    except AbcrownGraftError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return
    points = box_around(found, batch=4).lower.float()
    try:
        theirs = OnnxruntimeModule(found, path)(points)
    except AbcrownGraftError as error:
        assert "onnxruntime cannot run it" in str(error) and "\n" not in str(error)
        return
    assert_same(found, points, theirs)


def assert_same(found: OnnxNetwork, points: torch.Tensor, theirs: torch.Tensor) -> None:
    """Equal up to what float32 may make of the terms, where it does not overflow."""
    ours = evaluate(found.network, points.double())
    rounding = bound_network(
        found.network.to(dtype=torch.float32), Box(points, points), "interval", rigorous=True
    ).error
    allowed = 1e-5 + 4 * rounding.double()
    wrong = allowed.isfinite() & ~((ours - theirs).abs() <= allowed)
    assert not wrong.any(), f"{ours[wrong][:3]} is not {theirs[wrong][:3]}, up to {allowed[wrong][:3]}"


def test_the_models_themselves_are_read(tmp_path: Path):
    for content in MODELS:
        path = tmp_path / "model.onnx"
        path.write_bytes(content)
        found = read_onnx(path)
        points = box_around(found).lower.float()
        assert_same(found, points, OnnxruntimeModule(found, path)(points))
