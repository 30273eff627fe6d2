"""The value of a network: one rule per operator, one traversal."""

from __future__ import annotations

from functools import singledispatch

import torch
from torch import Tensor
from torch.nn import functional

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network


@singledispatch
def apply(operator: op.Operator, *inputs: Tensor) -> Tensor:
    """The operator's output for batched inputs `(batch, *shape)`."""
    raise UnsupportedError(f"operator {type(operator).__name__} has no forward rule")


@apply.register
def _(operator: op.Conv2d, x: Tensor) -> Tensor:
    return functional.conv2d(
        x, operator.weight, operator.bias, operator.stride, operator.padding, operator.dilation, operator.groups
    )


@apply.register
def _(operator: op.Linear, x: Tensor) -> Tensor:
    return functional.linear(x, operator.weight, operator.bias)


@apply.register
def _(operator: op.AvgPool2d, x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, operator.kernel, operator.stride, operator.padding)


@apply.register
def _(operator: op.Pad, x: Tensor) -> Tensor:
    return functional.pad(x, operator.amounts)


@apply.register
def _(operator: op.Reshape, x: Tensor) -> Tensor:
    return x.reshape(len(x), *operator.shape)


@apply.register
def _(operator: op.Select, x: Tensor) -> Tensor:
    return functional.pad(x.flatten(1), (1, 0))[:, operator.index]


@apply.register
def _(operator: op.Add, x: Tensor, y: Tensor) -> Tensor:
    return x + y


@apply.register
def _(operator: op.Concat, *inputs: Tensor) -> Tensor:
    return torch.cat(inputs, dim=operator.axis + 1)


@apply.register
def _(operator: op.Scale, x: Tensor) -> Tensor:
    return operator.scale * x + operator.shift


@apply.register
def _(operator: op.ReLU, z: Tensor) -> Tensor:
    return z.relu()


@apply.register
def _(operator: op.LeakyReLU, z: Tensor) -> Tensor:
    return functional.leaky_relu(z, operator.negative_slope)


@apply.register
def _(operator: op.GraftedReLU, z: Tensor) -> Tensor:
    return torch.where(operator.mask, operator.slope * z + operator.intercept, z.relu())


def node_values(network: Network, x: Tensor) -> dict[str, Tensor]:
    """The output of every node, by name, for inputs `(batch, *input shape)`."""
    values = {network.input.name: x}
    for node in network.nodes[1:]:
        values[node.name] = apply(node.operator, *(values[name] for name in node.inputs))
    return values


def evaluate(network: Network, x: Tensor) -> Tensor:
    """The network's output `(batch, *output shape)` for inputs `(batch, *input shape)`."""
    return node_values(network, x)[network.output.name]


def pre_activations(network: Network, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The network's output, and what goes into each site `(batch, *neurons)`, by site name."""
    values = node_values(network, x)
    inputs = {site: values[network.by_name[site].inputs[0]] for site in network.sites}
    return values[network.output.name], inputs
