"""The network under construction: nodes are tried out on zeros as they are added."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from abcrown_graft.errors import ModelError, UnsupportedError
from abcrown_graft.formats.onnx.values import Shape
from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network, Node

MAX_NUMBERS = 2**24  # of one tensor; what is larger would take hours to bound, or is a damaged file

MAX_IN_ALL = 2**27


class Builder:
    """Collects nodes in float64; their shapes come from torch, which refuses what does not fit together.

    Args:
        source: name of the input node.
        shape: of one input, without batch.
        dtype: what the file computes in.
        reserved: names that belong to the file's own tensors.
    """

    def __init__(self, source: str, shape: Shape, dtype: np.dtype, reserved: set[str]) -> None:
        self.dtype = dtype
        self._reserved = reserved
        self._nodes = {source: Node(source, op.Input(), (), shape)}
        self._size = 0
        self._reshaped: dict[tuple[str, Shape], str] = {}

    def add(self, name: str, operator: op.Operator, *inputs: str) -> str:
        """Adds a node that reads earlier ones; its name.

        Raises:
            ModelError: a constant is not finite, or the operator yields no numbers.
            UnsupportedError: it yields too many.
            RuntimeError: of torch, where sizes do not fit together.
        """
        if name in self._nodes:
            raise ValueError(f"two nodes of the network would be called {name!r}")
        constants = (t for t in vars(operator).values() if isinstance(t, Tensor) and t.is_floating_point())
        if not all(bool(t.isfinite().all()) for t in constants):
            raise ModelError("a weight is NaN or infinite")
        zero = torch.zeros((), dtype=torch.float64)  # the meta device would take seconds to set up
        shape = tuple(operator.value(*(zero.expand(1, *self._nodes[source].shape) for source in inputs)).shape[1:])
        check_size(shape)
        keeps_numbers = isinstance(operator, op.AffineOperator) and operator.keeps_numbers
        self._size += 0 if keeps_numbers else math.prod(shape)
        if self._size > MAX_IN_ALL:
            raise UnsupportedError(f"the network's tensors have more than {MAX_IN_ALL} numbers in all")
        self._nodes[name] = Node(name, operator, inputs, shape)
        return name

    def node(self, name: str) -> Node:
        """An earlier node."""
        return self._nodes[name]

    def unused(self, name: str) -> str:
        """`name`, or `name_2` and so on, for a node that is no tensor of the file."""
        found, count = name, 1
        while found in self._reserved or found in self._nodes:
            count += 1
            found = f"{name}_{count}"
        return found

    def laid_out(self, name: str, shape: Shape) -> str:
        """The node, or the same numbers in another shape; always the same node for the same question."""
        node = self._nodes[name]
        if node.shape == shape:
            return name
        known = self._reshaped.get((name, shape))
        if known is None:
            known = self.add(self.unused(f"{name}/{'x'.join(map(str, shape))}"), op.Reshape(shape), name)
            self._reshaped[name, shape] = known
        return known

    def network(self, output: str) -> Network:
        """What has been added so far, up to a flat output."""
        flat = self.laid_out(output, (math.prod(self._nodes[output].shape),))
        names = list(self._nodes)
        return Network(tuple(self._nodes[name] for name in names[: names.index(flat) + 1]))


def check_size(shape: Shape) -> None:
    """Refuses tensors of absurd size before they are made.

    Raises:
        UnsupportedError: the shape holds too many numbers.
        ModelError: it holds none.
    """
    size = math.prod(shape)
    if size > MAX_NUMBERS:
        raise UnsupportedError(f"a tensor of shape {list(shape)} is larger than supported ({MAX_NUMBERS} numbers)")
    if size <= 0 or min(shape, default=1) <= 0:
        raise ModelError(f"a tensor of shape {list(shape)} is empty")
