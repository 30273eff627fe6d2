"""What a model says of itself: opset, weights, input and output."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, numpy_helper

from abcrown_graft.errors import FileFormatError, ModelError, UnsupportedError
from abcrown_graft.formats.onnx.builder import MAX_NUMBERS
from abcrown_graft.formats.onnx.model_file import first_line
from abcrown_graft.formats.onnx.values import Constant, Operand, Shape

OPSETS = range(7, 29)
"""Versions of ONNX's operators whose rules are known: since 7 operators broadcast as they do today."""
PRECISIONS: dict[int, torch.dtype] = {TensorProto.FLOAT: torch.float32, TensorProto.DOUBLE: torch.float64}


def opset_of(path: Path, model: onnx.ModelProto) -> int:
    """Version of the operators.

    Raises:
        FileFormatError: there is not just one.
        UnsupportedError: it is not in `OPSETS`, or the model has functions of its own.
    """
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if len(versions) != 1:
        raise FileFormatError(f"{path}: {len(versions)} versions of ONNX's operators are imported, not one")
    if versions[0] not in OPSETS:
        raise UnsupportedError(
            f"{path}: opset {versions[0]} is not between {OPSETS[0]} and {OPSETS[-1]}; convert the file with"
            " onnx.version_converter"
        )
    if model.functions:
        raise UnsupportedError(f"{path}: functions of the model's own; inline them with onnx.inliner")
    return versions[0]


def constants_of(path: Path, graph: onnx.GraphProto) -> dict[str, Operand]:
    """The stored weights by name.

    Raises:
        FileFormatError: one of them is not as large as its shape says, or of no known type.
        UnsupportedError: some are sparse.
    """
    if graph.sparse_initializer:
        raise UnsupportedError(f"{path}: sparse initializers; store the weights as plain tensors")
    found: dict[str, Operand] = {}
    for tensor in graph.initializer:
        try:
            found[tensor.name] = Constant(numpy_helper.to_array(tensor))
        except (ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
            raise FileFormatError(f"{path}: weight {tensor.name!r} is damaged: {first_line(error)}") from None
    return found


def input_of(path: Path, graph: onnx.GraphProto) -> onnx.ValueInfoProto:
    """The one input that is not a weight; old files list their weights among the inputs.

    Raises:
        UnsupportedError: there is not just one.
    """
    weights = {tensor.name for tensor in graph.initializer}
    sources = [value for value in graph.input if value.name not in weights]
    if len(sources) != 1:
        raise UnsupportedError(f"{path}: {len(sources)} inputs ({_names(sources)}); one is supported")
    return sources[0]


def output_of(path: Path, graph: onnx.GraphProto) -> onnx.ValueInfoProto:
    """The one output.

    Raises:
        UnsupportedError: there is not just one.
    """
    if len(graph.output) != 1:
        raise UnsupportedError(f"{path}: {len(graph.output)} outputs ({_names(graph.output)}); one is supported")
    return graph.output[0]


def _names(values: Iterable[onnx.ValueInfoProto]) -> str:
    return ", ".join(repr(value.name) for value in values) or "none"


def precision_of(path: Path, source: onnx.ValueInfoProto) -> torch.dtype:
    """What the network computes in.

    Raises:
        UnsupportedError: neither float nor double.
    """
    kind = source.type.tensor_type.elem_type
    if kind not in PRECISIONS:
        name = TensorProto.DataType.Name(kind) if kind in TensorProto.DataType.values() else kind
        raise UnsupportedError(f"{path}: input {source.name!r} is of type {name}; use float or double")
    return PRECISIONS[kind]


def input_shape_of(path: Path, source: onnx.ValueInfoProto) -> Shape:
    """The declared shape, with 1 for a batch axis that has no fixed size.

    Raises:
        UnsupportedError: another axis has no fixed size, or the input is too large.
        ModelError: an axis is empty.
    """
    sizes = _declared(source)
    if len(sizes) > 1 and sizes[0] is None:
        sizes[0] = 1
    for position, size in enumerate(sizes):
        if size is None:
            raise UnsupportedError(f"{path}: axis {position} of input {source.name!r} has no fixed size; give it one")
        if size < 1:
            raise ModelError(f"{path}: axis {position} of input {source.name!r} has size {size}")
    shape = tuple(int(size) for size in sizes if size is not None)
    if math.prod(shape) > MAX_NUMBERS:
        raise UnsupportedError(f"{path}: input {source.name!r} of shape {list(shape)} is too large")
    return shape


def compare_shapes(path: Path, target: onnx.ValueInfoProto, found: Shape) -> None:
    """Compares the declared shape of the output, where it is fixed, with the one that was found.

    Args:
        path: of the file, for messages.
        target: the declaration.
        found: what the network gives.

    Raises:
        ModelError: they differ.
    """
    sizes = _declared(target)
    if len(sizes) != len(found) or any(s not in (None, f) for s, f in zip(sizes, found, strict=True)):
        raise ModelError(f"{path}: output {target.name!r} is declared {sizes}, but the network gives {list(found)}")


def _declared(value: onnx.ValueInfoProto) -> list[int | None]:
    """Sizes of the axes; None where open."""
    axes = value.type.tensor_type.shape.dim
    return [axis.dim_value if axis.HasField("dim_value") else None for axis in axes]
