"""The value of a network."""

from __future__ import annotations

from torch import Tensor

from abcrown_graft.network.graph import Network


def node_values(network: Network, x: Tensor) -> dict[str, Tensor]:
    """The output of every node, by name, for inputs `(batch, *input shape)`."""
    values = {network.input.name: x}
    for node in network.nodes[1:]:
        values[node.name] = node.operator.value(*(values[name] for name in node.inputs))
    return values


def evaluate(network: Network, x: Tensor) -> Tensor:
    """The network's output `(batch, *output shape)` for inputs `(batch, *input shape)`."""
    return node_values(network, x)[network.output.name]


def pre_activations(network: Network, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The network's output, and what goes into each site `(batch, *neurons)`, by site name."""
    values = node_values(network, x)
    inputs = {site: values[network.by_name[site].inputs[0]] for site in network.sites}
    return values[network.output.name], inputs
