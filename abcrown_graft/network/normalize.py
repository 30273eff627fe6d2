"""Puts the input normalisation in front of a network, so that its box lives in pixel space."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network, Node

NORMALIZE = "normalize"


def with_normalization(network: Network, mean: Tensor, std: Tensor) -> Network:
    """The network applied to `(x - mean) / std`.

    Args:
        mean, std: one number, or one per channel, as `nn.normalize.Normalize` holds them.

    The quotients are formed in float64 and rounded once to the network's precision.
    """
    if not mean.any() and bool((std == 1).all()):
        return network
    channels = (-1,) + (1,) * (len(network.input.shape) - 1)
    scale = 1 / std.double()
    shift = -mean.double() * scale
    scale, shift = (t.to(network.device, network.dtype).view(channels) for t in (scale, shift))
    operator = op.Scale(scale, shift)
    node = Node(NORMALIZE, operator, (network.input.name,), network.input.shape)
    renamed = (
        dataclasses.replace(n, inputs=tuple(NORMALIZE if name == network.input.name else name for name in n.inputs))
        for n in network.nodes[1:]
    )
    return Network((network.input, node, *renamed))
