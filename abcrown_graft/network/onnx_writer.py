"""What an operator needs of an ONNX graph under construction, so that it can say how it is written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from torch import Tensor

PAD_BY_INPUT = 11
"""The opset from which on the amounts of Pad are an input, not an attribute."""


class OnnxWriter(Protocol):
    """A graph under construction; every tensor in it has a leading batch axis of one."""

    @property
    def opset(self) -> int:
        """Version of the operators."""

    def call(self, kind: str, inputs: Iterable[str], output: str, **attributes: Any) -> str:
        """Adds a node of one output; the output's name."""

    def inner(self, name: str) -> str:
        """`name`, or `name_2` and so on, for a tensor that is none of the network's nodes."""

    def weight(self, name: str, values: Tensor) -> str:
        """Stores a constant in float32; its name."""

    def integers(self, name: str, values: Iterable[int] | np.ndarray) -> str:
        """Stores a constant of int64; its name."""


def write_padding(graph: OnnxWriter, source: str, pads: list[int], output: str) -> None:
    """Zero padding by `pads`, all axes' begins and then all ends, the batch's included."""
    if graph.opset < PAD_BY_INPUT:
        graph.call("Pad", [source], output, mode="constant", pads=pads, value=0.0)
    else:
        graph.call("Pad", [source, graph.integers(f"{output}.pads", pads)], output, mode="constant")


def write_line(graph: OnnxWriter, source: str, scale: Tensor, shift: Tensor, output: str, prefix: str) -> str:
    """`scale * source + shift`, without a product by ones or a sum with zeros; the name of its tensor.

    Args:
        graph: takes the nodes.
        source, output: names of tensors.
        scale, shift: constants, which broadcast to the source.
        prefix: what the names of the constants start with.
    """
    scaled, shifted = bool((scale != 1).any()), bool((shift != 0).any())
    if scaled or not shifted:
        product = graph.inner(f"{prefix}/product") if shifted else output
        source = graph.call("Mul", [source, graph.weight(f"{prefix}.scale", scale)], product)
    if shifted:
        graph.call("Add", [source, graph.weight(f"{prefix}.shift", shift)], output)
    return output
