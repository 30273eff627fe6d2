"""What an operator's rule does not take is an error in one line that names the node and says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx_models import integers, model_of, node, saved, weights

from abcrown_graft.errors import AbcrownGraftError, ModelError, UnsupportedError
from abcrown_graft.formats.onnx.reader import read_onnx

IMAGE = (1, 2, 5, 4)
KERNEL = {"kernel_shape": [2, 2]}
VECTORS = {"w": weights(2), "b": weights(2), "m": weights(2)}


def make(kind: str, inputs: str = "x", opset: int = 13, shape: tuple = IMAGE, **given: object) -> onnx.ModelProto:
    """A model of one node; arrays among the rest are its weights, the others its attributes."""
    arrays = {name: value for name, value in given.items() if isinstance(value, np.ndarray)}
    attributes = {name: value for name, value in given.items() if name not in arrays}
    wanted = node(kind, inputs, **attributes)
    return model_of(node("Relu", "x", "z"), wanted, shape=shape, output=("n", "m"), opset=opset, **arrays)


UNSUPPORTED = {
    "the product of two tensors that depend": make("Mul", "x z"),
    "input 1 depends on the network's input": make("Div", "x z"),
    "the product of two tensors of which not just one": make("MatMul", "x z", shape=(1, 1, 2, 2)),
    "a stack of matrices": make("MatMul", "x w", w=weights(2, 4, 3)),
    "the product of two tensors that": make("Gemm", "x z", shape=(2, 2)),
    "input 0 is constant; simplify": make("Relu", "w", w=weights(2)),
    "a slope of 1.5": make("LeakyRelu", alpha=1.5),
    "a slope of -0.5": make("LeakyRelu", alpha=-0.5),
    "limits 1.0 and 0.5": make("Clip", "x l h", l=np.array(1, np.float32), h=np.array(0.5, np.float32)),
    "statistics of a batch": make(
        "BatchNormalization", "x w b m v", opset=14, training_mode=1, **VECTORS, v=np.abs(weights(2))
    ),
    "input 1 depends on the network's input, where": make("Conv", "x z"),
    "a batch of 3 images": make("Conv", "x w", shape=(3, 2, 5, 4), w=weights(2, 2, 2, 2)),
    "one or two axes in space": make("Conv", "x w", shape=(1, 2, 3, 3, 3), w=weights(2, 2, 2, 2, 2)),
    "ceil_mode where it changes": make("AveragePool", **KERNEL, strides=[2, 2], ceil_mode=1),
    "dilations": make("AveragePool", **KERNEL, dilations=[2, 1], opset=19),
    "ceil_mode where it changes the size": make("MaxPool", **KERNEL, strides=[2, 2], ceil_mode=1),
    "windows of more than 64": make("MaxPool", kernel_shape=[9, 9], shape=(1, 1, 9, 9)),
    "dilations together with padding": make("MaxPool", **KERNEL, dilations=[2, 1], pads=[1, 0, 1, 0]),
    "training mode": make("Dropout", "x r t", r=np.array(0.5, np.float32), t=np.array(True)),
    "mode 'wrap'": make("Pad", "x p", mode="wrap", opset=19, p=integers(0, 0, 1, 1, 0, 0, 0, 0)),
    "mirroring": make("Pad", "x p", mode="reflect", p=integers(0, 0, 0, 4, 0, 0, 0, 0)),
    "is larger than supported": make("Pad", "x p", p=integers(0, 0, 2**40, 0, 0, 0, 0, 0)),
    "to type 10": make("Cast", to=TensorProto.FLOAT16),
    "a tensor that depends on the network's input, to int64": make("Cast", to=TensorProto.INT64),
    "input 1 depends": make("Reshape", "x z", shape=(2,)),
    "input 0 depends on the network's input, where": make("Where", "x x x"),
}

DAMAGED = {
    "do not fit together": make("Add", "x w", w=weights(3)),
    "a division by zero": make("Div", "x w", w=np.float32([1, 0, 1, 1])),
    "the product of tensors of shapes": make("MatMul", "x w", w=weights(3, 2)),
    "a tensor of shape [2, 3] times a matrix": make("Gemm", "x w", shape=(2, 3), w=weights(2, 2)),
    "an operand that is not a matrix": make("Gemm", "x w", w=weights(4, 2)),
    "a bias of shape [5, 2]": make("Gemm", "x w b", shape=(1, 3), w=weights(3, 2), b=weights(5, 2)),
    "a kernel of shape [2, 3, 2, 2] in 1 groups": make("Conv", "x w", w=weights(2, 3, 2, 2)),
    "a kernel of shape [2, 2, 2, 2] for": make("Conv", "x w", kernel_shape=[3, 3], w=weights(2, 2, 2, 2)),
    "a kernel size, stride, dilation or pad": make("Conv", "x w", strides=[0, 1], w=weights(2, 2, 2, 2)),
    "does not fit on [5, 4]": make("Conv", "x w", w=weights(2, 2, 6, 2)),
    "kernel, strides, dilations and pads do not fit": make("AveragePool", kernel_shape=[2]),
    "auto_pad 'VALID' with pads": make("MaxPool", **KERNEL, auto_pad="VALID", pads=[1, 0, 0, 0]),
    "padding as large as the kernel": make("MaxPool", **KERNEL, pads=[2, 0, 0, 0]),
    "a window that lies in the padding": make("AveragePool", **KERNEL, pads=[2, 0, 0, 0]),
    "a variance that is not positive": make("BatchNormalization", "x w b m v", **VECTORS, v=-np.ones(2, np.float32)),
    "vectors of shapes": make("BatchNormalization", "x w b m m", **{**VECTORS, "m": weights(3)}),
    "axis 5 of a tensor": make("Flatten", axis=5),
    "as [1, 3]": make("Reshape", "x s", s=integers(1, 3)),
    "as [-1, -1]": make("Reshape", "x s", s=integers(-1, -1)),
    "keeps an axis that": make("Reshape", "x s", shape=(4,), s=integers(4, 0)),
    "perm [0, 0, 1, 2]": make("Transpose", perm=[0, 0, 1, 2]),
    "are not all of size 1": make("Squeeze", "x a", a=integers(1)),
    "axes [9] of a tensor with 5 axes": make("Unsqueeze", "x a", a=integers(9)),
    "axes [0, 0] of a tensor": make("Unsqueeze", "x a", a=integers(0, 0)),
    "along axis 1": make("Concat", "x w", axis=1, w=weights(1, 2, 3, 4)),
    "axes [7] of a tensor with 4 axes": make("Concat", "x z", axis=7),
    "3 pads for 4 axes": make("Pad", "x p", p=integers(1, 1, 1)),
    "cut off all of an axis": make("Pad", "x p", p=integers(0, 0, -5, 0, 0, 0, 6, 0)),
    "is empty": make("Slice", "x s e", s=integers(1), e=integers(1)),
    "starts [0], ends [1, 2]": make("Slice", "x s e", s=integers(0), e=integers(1, 2)),
    "places outside an axis of 4": make("Gather", "x i", axis=3, i=integers(4)),
    "input 1 is not a vector of integers": make("Reshape", "x s", s=weights(2)),
    "a condition that is not boolean": make("Where", "w x z", w=weights(4)),
    "constants of types": make("Add", "w v", w=weights(4), v=integers(1)),
    "a weight is NaN": make("Mul", "x w", w=np.float32([1, 2, 3, np.nan])),
}


@pytest.mark.parametrize("reason", UNSUPPORTED)
def test_not_supported(reason: str, tmp_path: Path):
    assert_refused(UNSUPPORTED[reason], reason, UnsupportedError, tmp_path)


@pytest.mark.parametrize("reason", DAMAGED)
def test_makes_no_sense(reason: str, tmp_path: Path):
    assert_refused(DAMAGED[reason], reason, ModelError, tmp_path)


def assert_refused(model: onnx.ModelProto, reason: str, error: type[AbcrownGraftError], folder: Path) -> None:
    """The message is `file: operator 'node' (opset): ... reason ...`."""
    path = saved(model, folder)
    with pytest.raises(error) as caught:
        read_onnx(path)
    kind, opset = model.graph.node[-1].op_type, model.opset_import[0].version
    message = str(caught.value)
    assert message.startswith(f"{path}: {kind} 'the {kind} of y' (opset {opset}): ") and "\n" not in message
    assert reason in message
