"""From an ONNX file to its checked protobuf message."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto
from onnx.checker import ValidationError
from onnx.external_data_helper import load_external_data_for_model, uses_external_data

from abcrown_graft import files
from abcrown_graft.errors import FileFormatError

LIMIT = files.Limit(2**31, "more than ONNX's format, protobuf, can hold; keep the weights in external data")


def load_model(path: str | os.PathLike[str]) -> onnx.ModelProto:
    """The model of a `.onnx` file, compressed or not, with its external data, as the ONNX checker accepts it.

    Raises:
        FileFormatError: the file or its external data are missing, truncated, damaged or not valid ONNX.
    """
    path = Path(path)
    try:
        model = onnx.load_model_from_string(read_bytes(path))
    except DecodeError as error:
        raise FileFormatError(f"{path}: not a complete ONNX file ({first_line(error)})") from None
    if not model.graph.node and not model.graph.output:
        raise FileFormatError(f"{path}: not an ONNX file, it holds no graph")
    _load_external_data(path, model)
    try:
        onnx.checker.check_model(model)
    except (ValidationError, ValueError) as error:
        raise FileFormatError(f"{path}: not a valid ONNX model: {first_line(error)}") from None
    return model


def read_bytes(path: Path) -> bytes:
    """The bytes of a file, decompressed if it is compressed by gzip.

    Raises:
        FileFormatError: it is missing, no regular file, unreadable, truncated inside its compression, or more than
            2 GiB.
    """
    content = files.read_bytes(path, LIMIT)
    return files.gunzip(path, content, LIMIT) if content.startswith(files.GZIP_MAGIC) else content


def _load_external_data(path: Path, model: onnx.ModelProto) -> None:
    outside = [tensor.name for tensor in _tensors(model) if uses_external_data(tensor)]
    if not outside:
        return
    try:
        load_external_data_for_model(model, str(path.parent))
    except (ValidationError, OSError, ValueError) as error:
        raise FileFormatError(
            f"{path}: the external data of {outside[0]!r} cannot be read: {first_line(error)}"
        ) from None


def _tensors(model: onnx.ModelProto) -> list[TensorProto]:
    attributes = (attribute.t for node in model.graph.node for attribute in node.attribute if attribute.HasField("t"))
    return [*model.graph.initializer, *attributes]


def first_line(error: Exception) -> str:
    """What an exception of another library says, in one line."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__)
