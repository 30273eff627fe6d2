"""A network that takes the same numbers under another shape."""

from __future__ import annotations

import dataclasses
import itertools
import math

from abcrown_graft.errors import ModelError
from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network, Node


def with_input_shape(network: Network, shape: tuple[int, ...]) -> Network:
    """The network behind a reshaping of its input, which has this shape (without the batch).

    Axes of size one may come and go, and all axes may become one, in row-major order.

    Raises:
        ModelError: the shapes differ in more than that.
    """
    inner = network.input.shape
    if shape == inner:
        return network
    ours, theirs = (tuple(size for size in sizes if size != 1) for sizes in (shape, inner))
    flat = len(theirs) <= 1 and math.prod(ours) == math.prod(theirs)
    if ours != theirs and not flat:
        raise ModelError(f"the network takes {inner}, which inputs of shape {shape} are not without being rearranged")
    name = network.input.name
    used = (f"{name}_{number}" for number in itertools.count())
    reshaped = next(candidate for candidate in used if candidate not in network.by_name)
    renamed = (
        dataclasses.replace(node, inputs=tuple(reshaped if source == name else source for source in node.inputs))
        for node in network.nodes[1:]
    )
    first = dataclasses.replace(network.input, shape=shape)
    return Network((first, Node(reshaped, op.Reshape(inner), (name,), inner), *renamed))
