"""Which neurons α,β-CROWN finds unstable, by the names of our sites.

Its nodes have names of its own, and their order is not that of the network's forward pass. So a site is found by what
it computes: the node whose input has the site's pre-activations at a random point.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any

import arguments
import torch
from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm
from auto_LiRPA.bound_ops import BoundRelu
from auto_LiRPA.utils import stop_criterion_all
from beta_CROWN_solver import LiRPANet
from torch import Tensor, nn

from abcrown_graft.engines.abcrown.operator import BoundGraftedRelu
from abcrown_graft.errors import ConfigError, ModelError
from abcrown_graft.network.forward import pre_activations
from abcrown_graft.network.trace import from_module

METHODS = ("crown", "alpha-crown")
AGREEMENT = 1e-3  # relative; the two forward passes round differently

Instability = dict[str, Tensor]


def activation_nodes(net: BoundedModule, model: nn.Module) -> dict[str, BoundRelu]:
    """The node of each site of `model` in auto_LiRPA's graph of it. It runs the graph, so bounds in it are lost.

    Args:
        net: auto_LiRPA's module of the network.
        model: the network, with plain or grafted activations.

    Raises:
        ModelError: the graph computes no site's pre-activations, so it is not one of this network.
    """
    zeros = net.global_input[0]
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, *zeros.shape[1:], generator=generator, dtype=torch.float64).to(zeros)
    with torch.no_grad():
        _, expected = pre_activations(from_module(model, zeros.shape[1:]), x)
        net(x)
    found = {node: node.inputs[0].forward_value for node in net.relus}
    return {site: _nearest(site, z, found) for site, z in expected.items()}


def _nearest(site: str, expected: Tensor, found: Mapping[BoundRelu, Tensor]) -> BoundRelu:
    distances = {node: float((z - expected).abs().max()) for node, z in found.items() if z.shape == expected.shape}
    nearest = min(distances, key=lambda node: (distances[node], _otherness(site, node)), default=None)
    if nearest is None or not distances[nearest] <= AGREEMENT * (1 + float(expected.abs().max())):
        raise ModelError(f"site {site!r}: no node of α,β-CROWN's graph has its pre-activations; the networks differ")
    return nearest


def _otherness(site: str, node: BoundRelu) -> int:
    """Ranks nodes that read the same pre-activations: the site's own, one without a name, another site's."""
    name = getattr(node, "site", None)
    return 0 if name == site else 1 if name is None else 2


def unstable_neurons(nodes: Mapping[str, BoundRelu]) -> Instability:
    """Which neurons of each site are neither stable nor grafted under the bounds that the nodes hold now.

    Args:
        nodes: from `activation_nodes`. If their bounds are a batch, it is of the same box: a neuron is stable if one
            element says so.

    Returns:
        By site, boolean, of the neurons' shape, on the CPU. NaN counts as unstable, as in `Box.unstable`.

    Raises:
        ModelError: a node has no bounds.
    """
    return {site: _unstable(site, node) for site, node in nodes.items()}


def _unstable(site: str, node: BoundRelu) -> Tensor:
    lower, upper = node.inputs[0].lower, node.inputs[0].upper
    if lower is None or upper is None:
        raise ModelError(f"site {site!r}: α,β-CROWN holds no bounds of its pre-activations; nothing can be counted")
    unstable = (~((lower >= 0) | (upper <= 0))).all(dim=0)
    if isinstance(node, BoundGraftedRelu):
        unstable &= ~node.mask.to(unstable.device)
    return unstable.cpu()


def watch_bounds(callback: Callable[[Instability], None], method: str = "alpha-crown") -> None:
    """Has `callback` told the unstable neurons of every instance whose bounds α,β-CROWN computes, in this process.

    It is called when the incomplete stage is done with an instance: branch and bound later overwrites the bounds.
    Instances that are decided before (by an attack, or misclassified) have no bounds; see `bounds_of`.

    Args:
        callback: takes what `unstable_neurons` returns. What it raises ends the verification.
        method: "alpha-crown": the bounds after the incomplete stage (those of CROWN if they verify the instance);
            "crown": those before α is optimised.

    Raises:
        ConfigError: another method.
    """
    _check(method)
    build = LiRPANet.build

    @functools.wraps(build)
    def watched(self: LiRPANet, *args: Any, **kwargs: Any) -> Any:
        nodes = activation_nodes(self.net, self.model_ori)
        early = _record_crown(self.net, nodes) if method == "crown" else {}
        result = build(self, *args, **kwargs)
        callback(early or unstable_neurons(nodes))
        return result

    LiRPANet.build = watched


def _record_crown(net: BoundedModule, nodes: Mapping[str, BoundRelu]) -> Instability:
    """A dictionary that is filled by the first CROWN pass of the network, if there is one before the optimisation."""
    record: Instability = {}

    def init_alpha(self: BoundedModule, *args: Any, **kwargs: Any) -> Any:
        result = type(self).init_alpha(self, *args, **kwargs)
        if not record:
            record.update(unstable_neurons(nodes))
        return result

    net.init_alpha = MethodType(init_alpha, net)
    return record


def bounds_of(model: nn.Module, lower: Tensor, upper: Tensor, method: str) -> Instability:
    """The unstable neurons of one box, with α,β-CROWN's configuration as it is.

    Args:
        model: from `as_abcrown_network`.
        lower, upper: ends of the box, normalised, `(1, *input shape)`.
        method: "crown" or "alpha-crown"; α is optimised for the margins of the class at the centre of the box.

    Raises:
        ConfigError: another method.
    """
    _check(method)
    net = LiRPANet(model, in_size=[1, *lower.shape[1:]])
    nodes = activation_nodes(net.net, model)
    lower, upper = lower.to(net.device), upper.to(net.device)
    centre = (lower + upper) / 2
    x = BoundedTensor(centre, PerturbationLpNorm(x_L=lower, x_U=upper))
    rows = _margins(net.net(centre))
    if method == "crown":
        net.net.set_bound_opts({"verbosity": 1})
        share = arguments.Config["solver"]["alpha-crown"]["share_alphas"]
        net.net.init_alpha((x,), share_alphas=share, c=rows, bound_upper=False)
    else:
        nothing = torch.zeros(rows.shape[:2], dtype=rows.dtype, device=rows.device)
        build = inspect.unwrap(LiRPANet.build)
        build(net, x, rows, nothing, stop_criterion_all, bounding_method="alpha-crown", or_spec_size=_ones(rows))
    return unstable_neurons(nodes)


def _margins(output: Tensor) -> Tensor:
    """Rows `(1, outputs - 1, outputs)`: the largest output minus each of the others."""
    eye = torch.eye(output.shape[1], dtype=output.dtype, device=output.device)
    best = int(output.argmax())
    return (eye[best] - eye[torch.arange(len(eye), device=eye.device) != best])[None]


def _ones(rows: Tensor) -> Tensor:
    return torch.ones(rows.shape[1], dtype=torch.int64, device=rows.device)


def _check(method: str) -> None:
    if method not in METHODS:
        raise ConfigError(f"instability.method: {method!r} is not one of α,β-CROWN's here; known: {', '.join(METHODS)}")
