"""Every operator that is read computes what onnxruntime does, and bounds of what it becomes hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import assert_read, integers, model_of, node, weights

from abcrown_graft.formats.onnx.operators import OPERATORS

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGE = (1, 2, 5, 4)
Case = Callable[[], onnx.ModelProto]
CASES: dict[str, Case] = {}
ANY4, ANY3, ANY1 = ("n", "c", "h", "w"), ("n", "a", "b"), ("n",)


def flag(*values: bool) -> np.ndarray:
    return np.array(values)


def scalar(number: float) -> np.ndarray:
    return np.array(number, dtype=np.float32)


def image(
    *nodes: onnx.NodeProto, output: tuple[str, ...] = ANY4, opset: int = 13, **arrays: np.ndarray
) -> onnx.ModelProto:
    return model_of(*nodes, shape=IMAGE, output=output, opset=opset, **arrays)


def matrix(*nodes: onnx.NodeProto, output: tuple[str, ...] = ("n", "m"), **arrays: np.ndarray) -> onnx.ModelProto:
    return model_of(*nodes, shape=("batch", 6), output=output, **arrays)


ARITHMETIC = {
    "a number": scalar(-1.5),
    "per channel": weights(2, 1, 1),
    "per pixel": weights(5, 4),
    "per neuron": weights(1, 2, 5, 4),
    "with more axes than needed": weights(1, 1, 1, 1),
}
for kind in ("Add", "Sub", "Mul", "Div"):
    for about, array in ARITHMETIC.items():
        CASES[f"{kind} {about}"] = lambda kind=kind, array=array: image(node(kind, "x w"), w=array)
for kind in ("Add", "Sub", "Mul"):
    CASES[f"{kind} from a constant"] = lambda kind=kind: image(node(kind, "w x"), w=weights(2, 1, 1))
    CASES[f"{kind} to a larger shape"] = lambda kind=kind: model_of(
        node(kind, "x w"), shape=(1, 1, 4), output=ANY3, w=weights(3, 4)
    )
for kind in ("Add", "Sub"):
    CASES[f"{kind} of two variables"] = lambda kind=kind: image(node("Relu", "x", "z"), node(kind, "x z"))
    CASES[f"{kind} of a row and a column"] = lambda kind=kind: matrix(node("Transpose", "x", "z"), node(kind, "x z"))

CASES |= {
    "Conv": lambda: image(node("Conv", "x w b"), w=weights(3, 2, 3, 2), b=weights(3)),
    "Conv without bias, strides, groups, dilations, even pads": lambda: image(
        node("Conv", "x w", strides=[2, 1], pads=[1, 1, 1, 1], dilations=[1, 2], group=2, kernel_shape=[3, 2]),
        w=weights(4, 1, 3, 2),
    ),
    "Conv with uneven pads": lambda: image(node("Conv", "x w", pads=[0, 1, 2, 0]), w=weights(3, 2, 2, 2)),
    "Conv auto_pad SAME_UPPER": lambda: image(
        node("Conv", "x w", auto_pad="SAME_UPPER", strides=[2, 2]), w=weights(3, 2, 2, 3)
    ),
    "Conv auto_pad SAME_LOWER": lambda: image(
        node("Conv", "x w", auto_pad="SAME_LOWER", strides=[2, 3]), w=weights(3, 2, 2, 3)
    ),
    "Conv auto_pad VALID": lambda: image(node("Conv", "x w", auto_pad="VALID"), w=weights(3, 2, 2, 3)),
    "Conv over one axis": lambda: model_of(
        node("Conv", "x w b", strides=[2], pads=[1, 0]), shape=(1, 2, 7), output=ANY3, w=weights(3, 2, 3), b=weights(3)
    ),
    "Gemm": lambda: matrix(node("Gemm", "x w b"), w=weights(6, 3), b=weights(3)),
    "Gemm with all factors": lambda: matrix(
        node("Gemm", "x w b", alpha=0.5, beta=-2.0, transB=1), w=weights(3, 6), b=weights(1, 3)
    ),
    "Gemm without bias": lambda: matrix(node("Gemm", "x w"), w=weights(6, 3)),
    "Gemm of a single output": lambda: matrix(node("Gemm", "x w b"), w=weights(6, 1), b=scalar(2.0)),
    "Gemm of a transposed variable": lambda: matrix(node("Gemm", "x w b", transA=1), w=weights(1, 3), b=weights(6, 1)),
    "Gemm of several rows": lambda: model_of(node("Gemm", "x w b"), shape=(3, 6), w=weights(6, 3), b=weights(3, 1)),
    "Gemm from a constant": lambda: model_of(
        node("Gemm", "w x b", alpha=2.0), shape=(3, 4), w=weights(5, 3), b=weights(5, 1)
    ),
    "Gemm from a constant, both transposed": lambda: model_of(
        node("Gemm", "w x", transA=1, transB=1), shape=(4, 3), w=weights(3, 5)
    ),
    "MatMul": lambda: matrix(node("MatMul", "x w"), w=weights(6, 3)),
    "MatMul and Add": lambda: matrix(node("MatMul", "x w", "z"), node("Add", "z b"), w=weights(6, 3), b=weights(3)),
    "MatMul with a vector": lambda: matrix(node("MatMul", "x w"), output=ANY1, w=weights(6)),
    "MatMul of a vector": lambda: model_of(node("MatMul", "x w"), shape=(6,), output=ANY1, w=weights(6, 3)),
    "MatMul from a matrix of a vector": lambda: model_of(
        node("MatMul", "w x"), shape=(6,), output=ANY1, w=weights(3, 6)
    ),
    "MatMul from a vector": lambda: model_of(node("MatMul", "w x"), shape=(6, 3), output=ANY1, w=weights(6)),
    "MatMul from a matrix": lambda: model_of(node("MatMul", "w x"), shape=(1, 6, 3), output=ANY3, w=weights(4, 6)),
    "MatMul of a column": lambda: model_of(node("MatMul", "w x"), shape=(1, 6, 1), output=ANY3, w=weights(4, 6)),
    "MatMul of several rows": lambda: model_of(
        node("MatMul", "x w", "z"),
        node("Add", "z b"),
        shape=(1, 3, 6),
        output=ANY3,
        w=weights(1, 6, 3),
        b=weights(3, 1),
    ),
    "MatMul of a stack": lambda: model_of(node("MatMul", "x w"), shape=IMAGE, output=ANY4, w=weights(4, 2)),
    "Relu": lambda: image(node("Relu", "x")),
    "LeakyRelu": lambda: image(node("LeakyRelu", "x", alpha=0.3)),
    "LeakyRelu by default": lambda: image(node("LeakyRelu", "x")),
    "Clip as a ReLU": lambda: image(node("Clip", "x low"), low=scalar(0)),
    "Clip as a ReLU6": lambda: image(node("Clip", "x low high"), low=scalar(0), high=scalar(0.5)),
    "Clip on both sides": lambda: image(node("Clip", "x low high"), low=scalar(-0.3), high=scalar(0.5)),
    "Clip from above": lambda: image(node("Clip", "x _ high"), high=scalar(0.5)),
    "Clip from below": lambda: image(node("Clip", "x low"), low=scalar(0.5)),
    "Clip by nothing": lambda: image(node("Clip", "x")),
    "Clip by attributes": lambda: image(node("Clip", "x", min=-0.5, max=1.0), opset=7),
    "BatchNormalization": lambda: image(
        node("BatchNormalization", "x w b m v", epsilon=0.1),
        w=weights(2),
        b=weights(2, seed=1),
        m=weights(2, seed=2),
        v=np.abs(weights(2, seed=3)),
    ),
    "BatchNormalization of a vector": lambda: matrix(
        node("BatchNormalization", "x w b m v", momentum=0.5),
        w=weights(6),
        b=weights(6, seed=1),
        m=weights(6, seed=2),
        v=np.abs(weights(6, seed=3)),
    ),
    "BatchNormalization after Conv": lambda: image(
        node("Conv", "x k", "z"),
        node("BatchNormalization", "z w b m v"),
        k=weights(2, 2, 2, 2),
        w=weights(2),
        b=weights(2, seed=1),
        m=weights(2, seed=2),
        v=np.abs(weights(2, seed=3)),
    ),
    "AveragePool": lambda: image(node("AveragePool", "x", kernel_shape=[2, 2], strides=[2, 1])),
    "AveragePool that counts padding": lambda: image(
        node("AveragePool", "x", kernel_shape=[3, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    ),
    "AveragePool that does not": lambda: image(node("AveragePool", "x", kernel_shape=[3, 2], pads=[1, 1, 1, 0])),
    "AveragePool SAME_UPPER": lambda: image(node("AveragePool", "x", kernel_shape=[2, 3], auto_pad="SAME_UPPER")),
    "AveragePool with ceil_mode for nothing": lambda: image(
        node("AveragePool", "x", kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1)
    ),
    "AveragePool with much padding": lambda: image(
        node("AveragePool", "x", kernel_shape=[3, 3], pads=[2, 2, 2, 2], count_include_pad=1)
    ),
    "AveragePool over one axis": lambda: model_of(
        node("AveragePool", "x", kernel_shape=[2], pads=[1, 0]), shape=(1, 2, 5), output=ANY3
    ),
    "GlobalAveragePool": lambda: image(node("GlobalAveragePool", "x")),
    "GlobalAveragePool over one axis": lambda: model_of(node("GlobalAveragePool", "x"), shape=(1, 2, 5), output=ANY3),
    "MaxPool": lambda: image(node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2])),
    "MaxPool that overlaps": lambda: image(node("MaxPool", "x", kernel_shape=[3, 2])),
    "MaxPool of pairs": lambda: image(node("MaxPool", "x", kernel_shape=[1, 2])),
    "MaxPool of single pixels": lambda: image(node("MaxPool", "x", kernel_shape=[1, 1], strides=[2, 2])),
    "MaxPool with padding": lambda: image(node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 2, 1])),
    "MaxPool with padding after Relu": lambda: image(
        node("Relu", "x", "z"), node("MaxPool", "z", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    ),
    "MaxPool with padding after a negated Relu": lambda: image(
        node("Relu", "x", "r"),
        node("Mul", "r w", "z"),
        node("MaxPool", "z", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        w=scalar(-1),
    ),
    "MaxPool with dilations": lambda: image(node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 1])),
    "MaxPool SAME_LOWER": lambda: image(node("MaxPool", "x", kernel_shape=[2, 2], auto_pad="SAME_LOWER")),
    "MaxPool over one axis": lambda: model_of(
        node("MaxPool", "x", kernel_shape=[3], strides=[2], pads=[1, 1]), shape=(1, 2, 5), output=ANY3
    ),
    "Flatten": lambda: image(node("Flatten", "x"), output=("n", "m")),
    "Flatten at the front": lambda: image(node("Flatten", "x", axis=0), output=("n", "m")),
    "Flatten at the back": lambda: image(node("Flatten", "x", axis=-1), output=("n", "m")),
    "Reshape": lambda: image(node("Reshape", "x s"), s=integers(0, -1, 2), output=ANY3),
    "Reshape without batch": lambda: image(node("Reshape", "x s"), s=integers(-1), output=ANY1),
    "Reshape of pixels to rows": lambda: image(
        node("Reshape", "x s", "z"), node("MatMul", "z w"), s=integers(5, 8), w=weights(8, 2), output=("n", "m")
    ),
    "Transpose": lambda: image(node("Transpose", "x", perm=[0, 2, 3, 1])),
    "Transpose by default": lambda: image(node("Transpose", "x")),
    "Transpose of columns to channels": lambda: model_of(
        node("Transpose", "x", "z", perm=[0, 3, 1, 2]),
        node("Conv", "z w"),
        shape=(1, 5, 4, 2),
        output=ANY4,
        w=weights(3, 2, 2, 2),
    ),
    "Squeeze": lambda: model_of(node("Squeeze", "x a"), shape=(1, 3, 1, 2), output=ANY3, a=integers(-2)),
    "Squeeze all": lambda: model_of(node("Squeeze", "x"), shape=(1, 3, 1, 2)),
    "Squeeze by attribute": lambda: model_of(node("Squeeze", "x", axes=[0, 2]), shape=(1, 3, 1, 2), opset=11),
    "Unsqueeze": lambda: matrix(node("Unsqueeze", "x a"), a=integers(-1, 1), output=ANY4),
    "Unsqueeze by attribute": lambda: matrix(node("Unsqueeze", "x", axes=[0]), opset=11, output=ANY3),
    "Concat of channels": lambda: image(node("Relu", "x", "z"), node("Concat", "x z", axis=1)),
    "Concat of rows, from the end": lambda: image(node("Relu", "x", "z"), node("Concat", "z x", axis=-1)),
    "Concat of the batch": lambda: matrix(node("Relu", "x", "z"), node("Concat", "z x", axis=0)),
    "Concat with a constant": lambda: matrix(node("Concat", "w x", axis=1), w=weights(1, 2)),
    "Concat with constants between": lambda: image(
        node("Relu", "x", "z"), node("Concat", "x w z w", axis=2), w=weights(1, 2, 1, 4)
    ),
    "Constant": lambda: image(
        node("Constant", "", "w", value=helper.make_tensor("", TensorProto.FLOAT, [4], [1, -2, 3, 4])),
        node("Mul", "x w"),
    ),
    "Constant of a number": lambda: image(node("Constant", "", "w", value_float=2.5), node("Mul", "x w")),
    "Constant of numbers": lambda: image(
        node("Constant", "", "s", value_ints=[1, -1]), node("Reshape", "x s"), output=("n", "m")
    ),
    "Identity": lambda: image(node("Identity", "x", "z"), node("Relu", "z")),
    "Identity of a weight": lambda: matrix(node("Identity", "w", "v"), node("MatMul", "x v"), w=weights(6, 3)),
    "Dropout": lambda: image(node("Dropout", "x r t"), r=scalar(0.5), t=np.array(False)),
    "Dropout by attribute": lambda: image(node("Dropout", "x", ratio=0.2), opset=11),
    "Pad": lambda: image(node("Pad", "x p"), p=integers(0, 0, 1, 2, 0, 0, 3, 0)),
    "Pad and cut": lambda: image(node("Pad", "x p"), p=integers(0, 0, -1, 2, 0, 0, 3, -1)),
    "Pad with a number": lambda: image(node("Pad", "x p v"), p=integers(0, 1, 1, 2, 0, 0, 0, 0), v=scalar(0.7)),
    "Pad with the border": lambda: image(node("Pad", "x p", mode="edge"), p=integers(0, 0, 1, 2, 0, 0, 3, 0)),
    "Pad with a mirror": lambda: image(node("Pad", "x p", mode="reflect"), p=integers(0, 0, 1, 2, 0, 0, 3, 0)),
    "Pad of the batch": lambda: matrix(node("Pad", "x p v"), p=integers(1, 0, 0, 2), v=scalar(-1)),
    "Pad by attributes": lambda: image(node("Pad", "x", pads=[0, 0, 1, 1, 0, 0, 0, 2], value=0.5), opset=10),
    "Pad of some axes": lambda: image(node("Pad", "x p _ a"), p=integers(1, 2), a=integers(-1), opset=18),
    "Pad before Conv": lambda: image(
        node("Pad", "x p", "z"), node("Conv", "z w"), p=integers(0, 0, 1, 1, 0, 0, 1, 0), w=weights(3, 2, 2, 2)
    ),
    "Slice": lambda: image(node("Slice", "x s e a"), s=integers(1), e=integers(-1), a=integers(2)),
    "Slice with steps": lambda: image(
        node("Slice", "x s e a t"), s=integers(0, -1), e=integers(2**62, -(2**62)), a=integers(-2, 3), t=integers(2, -2)
    ),
    "Slice backwards from before the front": lambda: image(
        node("Slice", "x s e a t"), s=integers(-9), e=integers(-(2**62)), a=integers(3), t=integers(-1)
    ),
    "Slice by attributes": lambda: image(node("Slice", "x", starts=[0, 1], ends=[1, 9], axes=[1, 2]), opset=9),
    "Gather": lambda: image(node("Gather", "x i", axis=3), i=integers(3, -4, 0)),
    "Gather a single one": lambda: image(node("Gather", "x i", axis=2), i=np.array(1), output=ANY3),
    "Shape, Gather, Unsqueeze, Concat and Reshape as torch writes view": lambda: model_of(
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n"),
        node("Unsqueeze", "n zeros", "ns"),
        node("Concat", "ns rest", "shape", axis=0),
        node("Reshape", "x shape"),
        shape=("batch", 2, 3),
        zero=np.array(0),
        zeros=integers(0),
        rest=integers(-1),
    ),
    "Shape of the middle, Slice, Mul and Div": lambda: image(
        node("Shape", "x", "s", start=1, end=-1),
        node("Mul", "s two", "t"),
        node("Div", "t two", "u"),
        node("Concat", "one u rest", "shape", axis=0),
        node("Reshape", "x shape"),
        opset=15,
        two=integers(2),
        one=integers(1),
        rest=integers(-1),
    ),
    "ConstantOfShape": lambda: image(
        node("ConstantOfShape", "s", "w", value=helper.make_tensor("", TensorProto.FLOAT, [1], [2.0])),
        node("Add", "x w"),
        s=integers(5, 4),
    ),
    "ConstantOfShape of zeros": lambda: image(node("ConstantOfShape", "s", "w"), node("Sub", "w x"), s=integers(1, 4)),
    "Where of constants": lambda: image(
        node("Where", "m a b", "w"), node("Mul", "x w"), m=flag(True, False, True, False), a=weights(4), b=scalar(2)
    ),
    "Where of a variable and a number": lambda: image(
        node("Where", "m x b"), m=flag(True, False, True, False), b=scalar(2)
    ),
    "Where of a number and a variable": lambda: image(
        node("Where", "m b x"), m=flag(True, False, True, False), b=weights(4)
    ),
    "Where of two variables": lambda: image(
        node("Relu", "x", "z"), node("Where", "m x z"), m=flag(True, False, True, False)
    ),
    "Cast of a constant": lambda: image(
        node("Cast", "m", "w", to=TensorProto.FLOAT), node("Mul", "x w"), m=flag(True, False, True, True)
    ),
    "Cast to the same type": lambda: image(node("Cast", "x", to=TensorProto.FLOAT)),
}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_onnxruntime_and_bounds_hold(name: str, tmp_path: Path):
    assert_read(CASES[name](), tmp_path)


def test_every_operator_has_a_case():
    kinds = {node.op_type for make in CASES.values() for node in make().graph.node}
    assert kinds == set(OPERATORS.names())
