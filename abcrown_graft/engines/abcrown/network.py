"""A network of ours in the form that α,β-CROWN takes."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import auto_LiRPA.optimize_graph as rewriting
import torch
from torch import nn

from abcrown_graft.engines.abcrown.operator import BoundGraftedRelu, OneInputGraftedReLU, register_operator
from abcrown_graft.nn.activation import GraftedReLU

# auto_LiRPA's rewriting of its graph that takes any `BoundRelu` for a ReLU.
_BLIND_REWRITE = "optimize_relu_relation"


def as_abcrown_network(core: nn.Module) -> nn.Module:
    """A copy of a network in which every grafted activation is the operator that auto_LiRPA can bound.

    The operator is registered with auto_LiRPA on the way. A network without grafts is just copied.

    Args:
        core: as `LoadedModel.core`; it is not changed.

    Returns:
        The copy, in evaluation mode, on the same device and in torch's default precision, which is double where
        α,β-CROWN runs with `general.double_fp`.

    Raises:
        MaskError: a mask holds another number than 0 and 1, or a slope or intercept is not finite.
    """
    register_operator()
    _spare_grafted_networks()
    network = copy.deepcopy(core).eval()
    made: dict[GraftedReLU, OneInputGraftedReLU] = {}
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if not isinstance(module, GraftedReLU) or isinstance(module, OneInputGraftedReLU):
            continue
        if module not in made:
            made[module] = OneInputGraftedReLU(name, module.mask, module.slope, module.intercept)
        if not name:
            network = made[module]
            break
        parent, _, last = name.rpartition(".")
        setattr(network.get_submodule(parent), last, made[module])
    return network.eval().to(torch.get_default_dtype())


def _spare_grafted_networks() -> None:
    """Keeps auto_LiRPA from replacing `relu(relu(z) - relu(-z))` by `relu(z)` in grafted networks.

    It recognises the activations by their class and the rest by the weights, so it would replace grafted ones, too,
    where the identity does not hold. The rewriting only saves work.
    """
    rewrite = getattr(rewriting, _BLIND_REWRITE, None)
    if rewrite is None or hasattr(rewrite, "__wrapped__"):
        return
    setattr(rewriting, _BLIND_REWRITE, _sparing(rewrite))


def _sparing(rewrite: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(rewrite)
    def spared(net: Any) -> None:
        if not any(isinstance(node, BoundGraftedRelu) for node in net.nodes()):
            rewrite(net)

    return spared
