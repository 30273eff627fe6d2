"""Leaves grafted neurons out where α,β-CROWN bounds pre-activations.

A grafted neuron is linear whatever its own bounds are, so the backward passes (rows of C) and the α that would tighten
them are work for nothing.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

from auto_LiRPA import BoundedModule
from torch import Tensor

from abcrown_graft.engines.abcrown.operator import BoundGraftedRelu


def skip_grafted_rows(net: BoundedModule) -> None:
    """Makes grafted neurons look stable where auto_LiRPA decides which pre-activations get backward passes and α.

    Too few bounds may be computed that way, never wrong ones: a neuron that is left out keeps its reference bounds
    (interval arithmetic, or an earlier pass). Bounds of other neurons and of the output do not use them.

    Args:
        net: of one instance, before its bounds are computed. It is changed; other networks are not.
    """
    net.get_sparse_C = MethodType(_get_sparse_C, net)
    net.get_unstable_locations = MethodType(_get_unstable_locations, net)


def _get_sparse_C(self: BoundedModule, node: Any, reference: tuple[Any, Tensor, Tensor]) -> Any:
    """Which rows of a pre-activation are bounded; `reference` says whether few may be, and its bounds."""
    sparse, lower, upper = reference
    mask = _unneeded(self, node) if sparse else None
    if mask is not None:
        lower, upper = lower.masked_fill(mask, 0), upper.masked_fill(mask, 0)
    return type(self).get_sparse_C(self, node, (sparse, lower, upper))


def _get_unstable_locations(self: BoundedModule, lower: Tensor, upper: Tensor, **options: Any) -> Any:
    """Which rows of a pre-activation get α; it is called with the bounds that a node of the network holds."""
    node = next((node for node in self.nodes() if node.lower is lower), None)
    mask = None if node is None else _unneeded(self, node)
    if mask is not None:
        lower, upper = lower.masked_fill(mask, 0), upper.masked_fill(mask, 0)
    return type(self).get_unstable_locations(self, lower, upper, **options)


def _unneeded(net: BoundedModule, node: Any) -> Tensor | None:
    """The neurons of a node whose bounds no activation reads, of the node's shape without batch; None if all are."""
    readers = [net[name] for name in node.output_name if net[name].requires_input_bounds]
    if not readers or not all(isinstance(reader, BoundGraftedRelu) for reader in readers):
        return None
    mask = readers[0].mask
    for reader in readers[1:]:
        mask = mask & reader.mask
    return mask
