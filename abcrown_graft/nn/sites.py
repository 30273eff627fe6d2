"""Tracing a module, and the names of its activation sites.

An activation module that is called once lends its site its qualified name (`"1"`,
`"layer1.0.relu"`). Further calls of one module, and functional ReLUs, get names of their own
(`"relu"`, `"relu_1"`, ...). Grafting puts a module of the site's name in that place, so a model
and its grafted copy have the same sites.
"""

from __future__ import annotations

import torch
from torch import fx, nn
from torch.nn import functional
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from abcrown_graft.errors import AbcrownGraftError, UnsupportedError
from abcrown_graft.nn.activation import GraftedReLU
from abcrown_graft.nn.purity import pure
from abcrown_graft.nn.state import TRACER_OWN

RELU_FUNCTIONS = (functional.relu, torch.relu, torch.relu_, functional.relu_)
RELU_METHODS = ("relu", "relu_")
_WEIGHT_HOOKS = (WeightNorm, SpectralNorm)
_OURS = "abcrown_graft."
_GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks")


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, GraftedReLU) or super().is_leaf_module(m, module_qualified_name)


def symbolic_trace(module: nn.Module) -> fx.GraphModule:
    """The module as an fx graph whose leaves are torch's own modules and GraftedReLU.

    Raises:
        UnsupportedError: its control flow depends on values, or its code is no function of input and weights: it
            draws random numbers, keeps or reads what is outside of it, see `purity`.
    """
    _refuse_hooks(module)
    before = set(vars(module))
    try:
        with pure(module):
            graph = _Tracer().trace(module)
        return fx.GraphModule(module, graph, type(module).__name__)
    except AbcrownGraftError:
        raise
    except Exception as error:  # the user's `forward` may raise anything; fx itself raises TraceError
        reason = str(error) if isinstance(error, fx.proxy.TraceError) else f"{type(error).__name__}: {error}"
        raise UnsupportedError(f"{type(module).__name__} cannot be traced: {reason}") from error
    finally:
        for name in [name for name in vars(module) if name not in before and name.startswith(TRACER_OWN)]:
            delattr(module, name)


def _refuse_hooks(module: nn.Module) -> None:
    """Raises where a call of a module does more than its `forward`: the graph would not know of it.

    The hooks of weight and spectral normalisation and of lazy layers only make weights before they are read.
    """
    if any(getattr(nn.modules.module, kind) for kind in _GLOBAL_HOOKS):
        raise UnsupportedError("torch has a forward hook for all modules; remove it")
    for name, child in module.named_modules():
        lazy = isinstance(child, LazyModuleMixin)
        before = [h for h in child._forward_pre_hooks.values() if not lazy and not isinstance(h, _WEIGHT_HOOKS)]
        where = f"{f'submodule {name!r}' if name else 'the model'} ({type(child).__name__})"
        if before or child._forward_hooks or "forward" in vars(child):
            raise UnsupportedError(f"{where} has a forward hook or a patched forward; remove it")
        if isinstance(child, GraftedReLU) and not type(child).__module__.startswith(_OURS):
            raise UnsupportedError(f"{where} is a GraftedReLU of its own kind, which may compute something else")
        if type(child).__call__ is not nn.Module.__call__ and not isinstance(child, fx.GraphModule):
            raise UnsupportedError(f"{where} overrides __call__, which the graph would leave out; override forward")


def is_relu(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether the fx node is a (grafted) ReLU."""
    if node.op == "call_module":
        module = traced.get_submodule(str(node.target))
        return isinstance(module, GraftedReLU) or type(module) is nn.ReLU
    if node.op == "call_function":
        return node.target in RELU_FUNCTIONS
    return node.op == "call_method" and node.target in RELU_METHODS


def site_names(traced: fx.GraphModule) -> dict[fx.Node, str]:
    """The site name of every ReLU node, in forward order."""
    relus = [node for node in traced.graph.nodes if is_relu(traced, node)]
    own: dict[str, fx.Node] = {}
    for node in relus:
        if node.op == "call_module":
            own.setdefault(str(node.target), node)
    taken = {name for name, _ in (*traced.named_modules(), *traced.named_parameters(), *traced.named_buffers())}
    names: dict[fx.Node, str] = {}
    for node in relus:
        base = str(node.target) if node.op == "call_module" else "relu"
        if node.op == "call_module" and own[base] is node:
            names[node] = base
        else:
            names[node] = _unused(base, taken)
            taken.add(names[node])
    return names


def _unused(base: str, taken: set[str]) -> str:
    name, k = base, 0
    while name in taken or ("." not in name and hasattr(nn.Module, name)):
        k += 1
        name = f"{base}_{k}"
    return name
