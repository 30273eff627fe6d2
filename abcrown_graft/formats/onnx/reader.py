"""From an ONNX file to the network graph.

The file is read for a batch of one image: an input whose first axis has size 1 or no fixed size is a batch, and the
network's input is one image of it. What a node computes from constants alone is computed at once. Constants are
kept in float64, products of them are formed there; `Network.to` gives other precisions.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch

from abcrown_graft.errors import AbcrownGraftError, FileFormatError, ModelError, UnsupportedError
from abcrown_graft.formats.onnx.builder import Builder
from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.declarations import (
    compare_shapes,
    constants_of,
    input_of,
    input_shape_of,
    opset_of,
    output_of,
    precision_of,
)
from abcrown_graft.formats.onnx.grafts import with_grafts
from abcrown_graft.formats.onnx.model_file import first_line, load_model
from abcrown_graft.formats.onnx.operators import OPERATORS
from abcrown_graft.formats.onnx.simplify import merge_scales, without_dead_ends
from abcrown_graft.formats.onnx.values import Constant, Operand, Shape, Variable, layout
from abcrown_graft.network.fold import fold_scales
from abcrown_graft.network.graph import Network


@dataclass(frozen=True, eq=False)
class OnnxNetwork:
    """A network that was read from an ONNX file.

    Attributes:
        network: in float64, with a flat output. Sites have the names of the tensors that the activations make.
        executed: the same, with an operator for every step that the file takes.
        input_name, output_name: of the file's tensors.
        input_shape, output_shape: as the file has them, for a batch of one; `network.input.shape` is the first
            without its leading one.
        opset: version of the operators.
        dtype: what the file computes in.
    """

    network: Network
    executed: Network
    input_name: str
    output_name: str
    input_shape: Shape
    output_shape: Shape
    opset: int
    dtype: torch.dtype


def read_onnx(path: str | os.PathLike[str]) -> OnnxNetwork:
    """Reads a `.onnx` or `.onnx.gz` file.

    Raises:
        FileFormatError: the file is missing, truncated or not valid ONNX.
        ModelError: its weights are not finite, or its parts do not fit together.
        UnsupportedError: an operator, one of its options, an opset, or a number of inputs that is not supported.
    """
    path = Path(path)
    model = load_model(path)
    graph = model.graph
    opset = opset_of(path, model)
    constants = constants_of(path, graph)
    source, target = input_of(path, graph), output_of(path, graph)
    dtype, shape = precision_of(path, source), input_shape_of(path, source)
    reserved = {source.name, *constants, *(name for node in graph.node for name in node.output)}
    builder = Builder(source.name, layout(shape), numpy_dtype(dtype), reserved)
    reading = _Reading(path, graph, opset, builder)
    output = reading.run({**constants, source.name: Variable(source.name, shape)}, target.name)
    compare_shapes(path, target, output.shape)
    executed = builder.network(output.node)
    return OnnxNetwork(simplified(executed), executed, source.name, target.name, shape, output.shape, opset, dtype)


def simplified(network: Network) -> Network:
    """The same function in fewer nodes: grafted activations recognised, scalings folded into the layer before them."""
    merged = merge_scales(without_dead_ends(network))
    return fold_scales(without_dead_ends(with_grafts(merged)))


def numpy_dtype(dtype: torch.dtype) -> np.dtype:
    """The same precision in numpy."""
    return np.dtype(np.float64 if dtype == torch.float64 else np.float32)


class _Reading:
    """Translates a graph's nodes one by one."""

    def __init__(self, path: Path, graph: onnx.GraphProto, opset: int, builder: Builder) -> None:
        self.path, self.graph, self.opset, self.builder = path, graph, opset, builder

    def run(self, known: dict[str, Operand], target: str) -> Variable:
        """The value of the output; only what it depends on is read."""
        for node in self._needed(target):
            operands = tuple(self._value(known, name) if name else None for name in node.input)
            call = Call(node, self._where(node), operands, self.builder)
            known[node.output[0]] = self._translate(call)
        output = self._value(known, target)
        if isinstance(output, Constant):
            raise ModelError(f"{self.path}: the output {target!r} does not depend on the input")
        return output

    def _needed(self, target: str) -> list[onnx.NodeProto]:
        wanted, found = {target}, []
        for node in reversed(self.graph.node):
            if wanted.intersection(node.output):
                found.append(node)
                wanted.update(name for name in node.input if name)
        return found[::-1]

    def _value(self, known: dict[str, Operand], name: str) -> Operand:
        if name in known:
            return known[name]
        maker = next((n for n in self.graph.node if name in list(n.output)[1:]), None)
        if maker is not None:
            raise UnsupportedError(f"{self._where(maker)}: its output {name!r}, not the first one, is used")
        raise FileFormatError(f"{self.path}: {name!r} is read before anything makes it")

    def _translate(self, call: Call) -> Operand:
        node = call.node
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
            known = ", ".join(OPERATORS.names())
            raise UnsupportedError(f"{call.where}: this operator is not supported; known: {known}")
        try:
            with np.errstate(all="ignore"):  # what is not finite is refused where it is used
                return OPERATORS[node.op_type](call)
        except AbcrownGraftError as error:
            message = str(error)
            raise type(error)(message if call.where in message else f"{call.where}: {message}") from None
        except (ValueError, TypeError, IndexError, KeyError, OverflowError, RuntimeError, MemoryError) as error:
            # what numpy, torch and onnx raise where the numbers of a damaged node do not fit together
            raise ModelError(f"{call.where}: {first_line(error)}") from None

    def _where(self, node: onnx.NodeProto) -> str:
        kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        name = node.name or (node.output[0] if node.output else "")
        return f"{self.path}: {kind if kind.isprintable() else repr(kind)} {name!r} (opset {self.opset})"
