"""The weighted-interval score: how much of the verifier's error each ReLU is the source of.

After "Lipschitz-aware Linearity Grafting for Certified Robustness" (Han and Kim 2025, arXiv 2510.25130), which grafts
the neurons that dominate the error of the relaxation. Its code is not public; what follows is this package's reading.
"""

from __future__ import annotations

import torch
from torch import Tensor

from abcrown_graft.bounds.propagate import bound_network
from abcrown_graft.errors import ConfigError
from abcrown_graft.geometry.robustness import linf_box
from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network


def weighted_widths(
    network: Network, images: Tensor, labels: Tensor, epsilon: float | None
) -> dict[str, tuple[Tensor, ...]]:
    """Σ over the images of `[l < 0 < u] · (u − l) · influence` by site, float64 of the site's shape.

    `l` and `u` are interval bounds of the pre-activation over the valid images within `epsilon`. A stable or grafted
    neuron is linear there, needs no relaxation, and counts as 0.

    Args:
        network: takes the images as they are.
        images: `(batch, *shape)`, in [0, 1].
        labels: not looked at.
        epsilon: radius in pixel units, or None where there is none.

    Raises:
        ConfigError: there is no radius.
    """
    if epsilon is None:
        raise ConfigError("significance (interval) needs the perturbation's radius; set specification.epsilon")
    weights = influence(network)
    with torch.no_grad():
        bounds = bound_network(network, linf_box(images, epsilon), "interval")
    sums: dict[str, tuple[Tensor, ...]] = {}
    for site in network.sites:
        z = bounds.pre_activation[site]
        width = torch.where(bounds.unstable(site), z.upper - z.lower, 0.0)
        sums[site] = ((width.double() * weights[site].double()).sum(0),)
    return sums


def influence(network: Network) -> dict[str, Tensor]:
    """Σ |outgoing weights| of every neuron, by site, of the site's shape and in the network's precision.

    It is the sum of the coefficients' absolute values in all that the neuron's output enters before the next
    activation or the network's output. Paths that meet (a residual sum) add up their absolute values.
    """
    device, dtype = network.device, network.dtype
    values = {network.input.name: torch.zeros(1, *network.input.shape, device=device, dtype=dtype)}
    reached = torch.zeros((), device=device, dtype=dtype)
    leaves = {}
    for node in network.nodes[1:]:
        inputs = [values[name] for name in node.inputs]
        if isinstance(node.operator, op.Activation):
            reached = reached + inputs[0].sum()
            values[node.name] = torch.zeros(1, *node.shape, device=device, dtype=dtype, requires_grad=True)
            leaves[node.name] = values[node.name]
        else:
            values[node.name] = node.operator.magnitude(*inputs)
    reached = reached + values[network.output.name].sum()
    if not leaves:
        return {}
    found = dict(zip(leaves, torch.autograd.grad(reached, list(leaves.values()), materialize_grads=True), strict=True))
    return {site: found[site][0] for site in network.sites}
