"""An ONNX graph under construction: nodes and weights under names that are always the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from abcrown_graft.errors import ModelError

BATCH = 1  # tools disagree most about open sizes


class OnnxGraph:
    """Collects the nodes and the weights of a graph; every tensor has a leading batch axis of one.

    Attributes:
        opset: version of the operators.
        nodes: in topological order.
        weights: by the order in which they are read.
    """

    def __init__(self, opset: int, reserved: Iterable[str]) -> None:
        """The names in `reserved` are those of the network's nodes, which `call` gives as `output`."""
        self.opset = opset
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self._taken = set(reserved)

    def call(self, kind: str, inputs: Iterable[str], output: str, **attributes: Any) -> str:
        """Adds a node of one output; the output's name, which is the node's too.

        Args:
            kind: the ONNX operator.
            inputs: names of tensors.
            output: what the output is to be called.
        """
        self.nodes.append(helper.make_node(kind, list(inputs), [output], output, **attributes))
        return output

    def inner(self, name: str) -> str:
        """`name`, or `name_2` and so on, for a tensor that is none of the network's nodes."""
        found, count = name, 1
        while found in self._taken:
            count += 1
            found = f"{name}_{count}"
        self._taken.add(found)
        return found

    def weight(self, name: str, values: Tensor) -> str:
        """Stores a constant in float32; its name.

        Raises:
            ModelError: a value is not finite in float32.
        """
        with np.errstate(over="ignore"):  # what is too large is refused below
            array = values.detach().cpu().numpy().astype(np.float32)
        if not np.isfinite(array).all():
            raise ModelError(f"{name}: a weight is NaN or too large for float32; the network cannot be exported")
        return self._store(name, array)

    def integers(self, name: str, values: Iterable[int] | np.ndarray) -> str:
        """Stores a constant of int64; its name."""
        return self._store(name, np.asarray(values, dtype=np.int64))

    def _store(self, name: str, array: np.ndarray) -> str:
        name = self.inner(name)
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def build(self, source: tuple[str, tuple[int, ...]], target: tuple[str, tuple[int, ...]]) -> onnx.GraphProto:
        """The graph, given names and shapes (without batch) of its input and output."""
        (first,), (last,) = (
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, (BATCH, *shape))]
            for name, shape in (source, target)
        )
        return helper.make_graph(self.nodes, "network", [first], [last], self.weights)
