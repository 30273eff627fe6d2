"""What a tensor of an ONNX graph is while it is read: known numbers, or the output of a network node.

A network is read for a batch of one: a dynamic batch axis has size 1. An ONNX tensor and the node that holds it
have the same numbers in row-major order; their shapes may differ, since nodes leave a batch axis of one out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that does not depend on the network's input."""

    array: np.ndarray

    @property
    def shape(self) -> Shape:
        """As ONNX has it."""
        return self.array.shape


@dataclass(frozen=True, eq=False)
class Variable:
    """A tensor that does; `node` is the name of the node that holds it, `shape` is as ONNX has it."""

    node: str
    shape: Shape


Operand = Constant | Variable


def layout(shape: Shape) -> Shape:
    """The usual shape of a node that holds an ONNX tensor: without a leading axis of one, and never empty."""
    if len(shape) > 1 and shape[0] == 1:
        return shape[1:]
    return shape or (1,)


def aligned(array: np.ndarray, shape: Shape) -> Tensor:
    """A constant that broadcasts against a node of `layout(shape)` as the array does against ONNX shape `shape`."""
    if array.size == 1:
        return torch.from_numpy(array.reshape(()).copy())
    padded = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    return torch.from_numpy(padded.reshape(padded.shape[len(shape) - len(layout(shape)) :]))
