"""The way back through a network, once for every representation of linear functions.

Functions of a node are whole tensors of coefficients (`backward`), windows (`windowed`), columns of live neurons
(`sparse`) or ranges of coefficients (`gradients`). Each brings a rule for activations and one for affine operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from torch import Tensor

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network, Node

Sum = TypeVar("Sum")


class Functions(Protocol):
    """Linear functions of a node's output."""

    def __add__(self: Sum, other: Any, /) -> Sum:
        """Their sum with other functions of that node."""


F = TypeVar("F", bound=Functions)

ThroughActivation = Callable[[str, F], "tuple[F, Tensor | float]"]
"""From a site and functions of its output to functions of its input below them, and constants."""
ThroughAffine = Callable[[Node, op.AffineOperator, F], "tuple[Sequence[F], Tensor | float]"]
"""From a node, its operator and functions of its output to functions of each input, and constants."""
Thinning = Callable[[str, Mapping[str, F], Tensor], "tuple[dict[str, F], Tensor]"]
"""At a site: of functions that are a sum over nodes, and their constants, those to go on with."""


def pull_to_input(
    network: Network,
    start: str,
    functions: F,
    constant: Tensor,
    activation: ThroughActivation[F],
    affine: ThroughAffine[F],
    thinned: Thinning[F] | None = None,
) -> tuple[F, Tensor]:
    """Functions of node `start` as functions of the network's input, and their constants.

    Args:
        network: the graph.
        start: name of the node.
        functions, constant: of that node.
        activation, affine: what becomes of functions on the way.
        thinned: drops functions at the sites; None keeps all.

    Raises:
        UnsupportedError: an operator is neither an activation nor affine.
    """
    pending = {start: functions}
    order = [node.name for node in network.nodes]
    for name in reversed(order[1 : order.index(start) + 1]):
        if name not in pending:
            continue
        node, operator = network.by_name[name], network.by_name[name].operator
        parts: Sequence[F]
        if isinstance(operator, op.Activation):
            if thinned is not None:
                pending, constant = thinned(name, pending, constant)
            pulled, added = activation(name, pending.pop(name))
            parts = (pulled,)
        elif isinstance(operator, op.AffineOperator):
            parts, added = affine(node, operator, pending.pop(name))
        else:
            raise UnsupportedError(f"{name}: operator {type(operator).__name__} is neither an activation nor affine")
        constant = constant + added
        for source, part in zip(node.inputs, parts, strict=True):
            pending[source] = pending[source] + part if source in pending else part
    return pending[network.input.name], constant
