"""An immutable, topologically ordered graph of operators."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from abcrown_graft.errors import ModelError
from abcrown_graft.network import operators as op


@dataclass(frozen=True, eq=False)
class Node:
    """One operator applied to the outputs of earlier nodes.

    Attributes:
        name: unique; the name of an activation node is its *site*.
        operator: what is applied.
        inputs: names of the nodes whose outputs it takes.
        shape: of its output, without batch.
    """

    name: str
    operator: op.Operator
    inputs: tuple[str, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Network:
    """Nodes in topological order: the first is the input, the last the output."""

    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        if len(self.by_name) != len(self.nodes):
            names = [node.name for node in self.nodes]
            twice = next(name for name in names if names.count(name) > 1)
            raise ModelError(f"two operators of the network are called {twice!r}; rename a submodule")

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """Every node by its name."""
        return {node.name: node for node in self.nodes}

    @property
    def input(self) -> Node:
        """The input node."""
        return self.nodes[0]

    @property
    def output(self) -> Node:
        """The output node."""
        return self.nodes[-1]

    @cached_property
    def device(self) -> torch.device:
        """Where the constants are."""
        return next((t.device for t in self._constants()), torch.device("cpu"))

    @cached_property
    def dtype(self) -> torch.dtype:
        """Precision of the constants."""
        return next((t.dtype for t in self._constants() if t.is_floating_point()), torch.get_default_dtype())

    def _constants(self) -> Iterator[Tensor]:
        return (t for node in self.nodes for t in vars(node.operator).values() if isinstance(t, Tensor))

    @cached_property
    def activations(self) -> tuple[Node, ...]:
        """All activation nodes in forward order."""
        return tuple(node for node in self.nodes if isinstance(node.operator, op.Activation))

    def activation(self, site: str) -> op.Activation:
        """The operator of an activation node.

        Raises:
            ValueError: the node is none.
        """
        operator = self.by_name[site].operator
        if not isinstance(operator, op.Activation):
            raise ValueError(f"node {site!r} is no activation, but {type(operator).__name__}")
        return operator

    def input_shapes(self, name: str) -> tuple[tuple[int, ...], ...]:
        """Shapes of what a node reads."""
        return tuple(self.by_name[source].shape for source in self.by_name[name].inputs)

    @cached_property
    def sites(self) -> Mapping[str, tuple[int, ...]]:
        """Name and neuron shape of every activation that can be grafted, in forward order."""
        return {node.name: node.shape for node in self.activations if self.activation(node.name).graftable}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Node, ...]]:
        """The nodes that take each node's output."""
        return {node.name: tuple(n for n in self.nodes if node.name in n.inputs) for node in self.nodes}

    def grafted_mask(self, site: str) -> Tensor:
        """Boolean tensor of the site's shape: which of its neurons are grafted."""
        grafted = self.activation(site).grafted
        return torch.zeros(self.by_name[site].shape, dtype=torch.bool) if grafted is None else grafted

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> Network:
        """The same graph with `function` applied to each constant."""
        return Network(
            tuple(dataclasses.replace(node, operator=node.operator.map_tensors(function)) for node in self.nodes)
        )

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Network:
        """The same network elsewhere or in another precision; masks stay boolean."""
        return self.map_tensors(lambda t: t.to(device=device, dtype=dtype if t.is_floating_point() else None))
