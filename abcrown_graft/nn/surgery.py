"""Grafting: the same network with chosen ReLU neurons made linear, and back."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from abcrown_graft.errors import MaskError
from abcrown_graft.nn.activation import GraftedReLU
from abcrown_graft.nn.sites import site_names, symbolic_trace

SiteValues = float | Mapping[str, Tensor]


def graft(
    model: nn.Module, mask: Mapping[str, Tensor], slope: SiteValues = 0.4, intercept: SiteValues = 0.0
) -> nn.Module:
    """A copy of `model` in which every ReLU site of `mask` is a `GraftedReLU`.

    Args:
        model: any traceable network; sequential or residual, `nn.ReLU` modules called once or
            several times, functional ReLUs. It is not changed.
        mask: by site name, boolean tensors of the site's neuron shape (no batch); True is linear.
            A `GraftMask`'s `masks`. Sites left out stay plain ReLUs.
        slope, intercept: initial values for all neurons, or tensors by site name.

    Returns:
        A traced module. Its parameters keep their names; a site `s` has `s.mask`, `s.slope`,
        `s.intercept`, on the model's device and in its precision. Its first call raises `MaskError`
        if a mask does not have the neurons' shape, which is known only then.

    Raises:
        MaskError: the mask names a site that the model does not have, is not boolean, or slope or
            intercept lack a site of the mask or have another shape.
    """
    traced = symbolic_trace(copy.deepcopy(model))
    names = site_names(traced)
    unknown = sorted(set(mask) - set(names.values()))
    if unknown:
        raise MaskError(
            f"the mask has no place in this model: it names site {unknown[0]!r}, the model has {list(names.values())}"
        )
    reference = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    before = {node: _called_module(traced, node) for node in names}
    for node, site in names.items():
        if site in mask:
            values = _at("slope", slope, site), _at("intercept", intercept, site)
            grafted = GraftedReLU(mask[site].to(reference.device), *values, dtype=reference.dtype)
            _replace(traced, node, site, grafted)
        elif node.op == "call_module" and site != node.target:
            _replace(traced, node, site, copy.copy(before[node]))  # the module called here may be grafted itself
    return _cleaned(traced, model.training)


def _at(what: str, values: SiteValues, site: str) -> float | Tensor:
    if not isinstance(values, Mapping):
        return values
    if site not in values:
        raise MaskError(f"the {what} has no values for site {site!r}, which the mask names; it has {list(values)}")
    return values[site]


def _called_module(traced: torch.fx.GraphModule, node: torch.fx.Node) -> nn.Module:
    return traced.get_submodule(str(node.target)) if node.op == "call_module" else nn.ReLU()


def prune(model: nn.Module, mask: Mapping[str, Tensor]) -> nn.Module:
    """A copy in which the masked neurons output zero: grafted with slope and intercept 0, both fixed."""
    pruned = graft(model, mask, 0.0, 0.0)
    for module in grafted_modules(pruned).values():
        module.slope.requires_grad_(False)
        module.intercept.requires_grad_(False)
    return pruned


def ungraft(model: nn.Module) -> nn.Module:
    """A copy in which every `GraftedReLU` is a plain ReLU again; the weights stay as they are."""
    traced = symbolic_trace(copy.deepcopy(model))
    for node, site in site_names(traced).items():
        _replace(traced, node, site, nn.ReLU())
    return _cleaned(traced, model.training)


def grafted_modules(model: nn.Module) -> dict[str, GraftedReLU]:
    """The grafted activations of a model by site name, in the order of `named_modules`."""
    return {name: module for name, module in model.named_modules() if isinstance(module, GraftedReLU)}


def _replace(traced: torch.fx.GraphModule, node: torch.fx.Node, site: str, module: nn.Module) -> None:
    traced.add_submodule(site, module)
    with traced.graph.inserting_after(node):
        call = traced.graph.call_module(site, (node.args[0] if node.args else node.kwargs["input"],))
    node.replace_all_uses_with(call)
    traced.graph.erase_node(node)


def _cleaned(traced: torch.fx.GraphModule, training: bool) -> nn.Module:
    traced.delete_all_unused_submodules()
    traced.graph.lint()
    traced.recompile()
    return traced.train(training)
