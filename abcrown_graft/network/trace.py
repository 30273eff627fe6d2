"""From a torch module to the network graph.

The module is traced symbolically and run once on zeros, so that shapes (`x.view(x.size(0), -1)`)
are concrete. Each traced call is then translated by the rule that an operator files for it (`translation.py`);
one without a rule is an error that names it. Operations that the output does not depend on are left
out. Batch normalisation and constant scalings are folded into the layer before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from abcrown_graft.errors import AbcrownGraftError, ModelError, UnsupportedError
from abcrown_graft.network import operators as op
from abcrown_graft.network.fold import fold_scales
from abcrown_graft.network.graph import Network, Node
from abcrown_graft.network.translation import CALL_RULES, MODULE_RULES, Call
from abcrown_graft.nn.sites import site_names, symbolic_trace

INPUT = "input"
_BATCH = 2
_SHAPE_QUERIES = ("size", "dim", "ndimension", "numel", "shape", "ndim", "dtype", "device")


def from_module(module: nn.Module, input_shape: Sequence[int], attached: bool = False) -> Network:
    """The graph of `module` in evaluation mode.

    Args:
        module: any traceable network of the supported operators; it is not changed.
        input_shape: of one input, without batch.
        attached: the constants are differentiable functions of the module's parameters, for certified training;
            otherwise nothing of the network needs a gradient.

    Raises:
        UnsupportedError: an operation has no rule, mixes the images of a batch, or changes in place
            what is read later; the message names it.
        ModelError: the module does not accept inputs of that shape.
    """
    was_training = {name: child.training for name, child in module.named_modules()}
    module.eval()
    try:
        traced = symbolic_trace(module)
        with torch.set_grad_enabled(attached):
            values = _run(traced, input_shape)
            network = fold_scales(_Reader(traced, values).read())
        return network if attached else network.map_tensors(Tensor.detach)
    finally:
        for name, child in module.named_modules():
            child.training = was_training[name]


class _Recorder(fx.Interpreter):
    """Runs a traced module and keeps the value of every node.

    A graph has no operations in place: one is fine only if nothing reads the old value afterwards.
    Torch counts the changes of a tensor and its views in `_version`.
    """

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced, garbage_collect_values=False)
        self.values: dict[fx.Node, Any] = {}
        self.versions: dict[fx.Node, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        for source in n.all_input_nodes:
            if source in self.versions and self.values[source]._version != self.versions[source]:
                raise UnsupportedError(
                    f"{n.name!r} reads {source.name!r} after an operation changed it in place; use inplace=False"
                )
        self.values[n] = super().run_node(n)
        if isinstance(self.values[n], Tensor):
            self.versions[n] = self.values[n]._version
        return self.values[n]


def _run(traced: fx.GraphModule, input_shape: Sequence[int]) -> dict[fx.Node, Any]:
    reference = next(traced.parameters(), torch.zeros(()))
    recorder = _Recorder(traced)
    recorder.extra_traceback = False
    try:
        recorder.run(torch.zeros(_BATCH, *input_shape, dtype=reference.dtype, device=reference.device))
    except AbcrownGraftError:
        raise
    except Exception as error:  # whatever the user's constants and torch's kernels raise on this shape
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"the model does not accept inputs of shape {tuple(input_shape)}: {reason}") from None
    return recorder.values


class _Reader:
    """Translates traced nodes one by one."""

    def __init__(self, traced: fx.GraphModule, values: dict[fx.Node, Any]) -> None:
        self.traced = traced
        self.values = values
        self.sites = site_names(traced)
        self.names: dict[fx.Node, str] = {}
        self.nodes: list[Node] = []

    def read(self) -> Network:
        for node in self.traced.graph.nodes:
            if node.op == "placeholder" and not self.nodes:
                self._add(node, INPUT, op.Input(), ())
            elif node.op == "output":
                return self._finish(node)
            elif any(source in self.names for source in node.all_input_nodes) and not _asks_shape(node):
                self._translate(node)
        raise ModelError("the model has no output")

    def _finish(self, node: fx.Node) -> Network:
        result = node.args[0]
        if not isinstance(result, fx.Node) or result not in self.names:
            raise UnsupportedError("the model must return one tensor that depends on its input")
        last = self.names[result]
        everything = Network(tuple(self.nodes))
        needed = {INPUT, last}
        for earlier in reversed(self.nodes):
            needed.update(earlier.inputs if earlier.name in needed else ())
        return Network(tuple(n for n in everything.nodes if n.name in needed))

    def _add(self, node: fx.Node, name: str, operator: op.Operator, inputs: tuple[str, ...]) -> None:
        shape = tuple(self.values[node].shape)
        if not shape or shape[0] != _BATCH:
            raise UnsupportedError(f"{_describe(self.traced, node)} does not keep the batch axis in front")
        self.nodes.append(Node(name, operator, inputs, shape[1:]))
        self.names[node] = name

    def _translate(self, node: fx.Node) -> None:
        operator = self._operator(node)
        sources = [n for n in _flat_arguments(node) if n in self.names]
        inputs = tuple(self.names[n] for n in sources)
        element_wise = operator is not None and operator.element_wise
        if element_wise and any(self.values[n].shape != self.values[node].shape for n in sources):
            raise UnsupportedError(f"{_describe(self.traced, node)} broadcasts its input to another shape")
        if operator is None:
            self.names[node] = inputs[0]
        else:
            self._add(node, self.sites.get(node, node.name), operator, inputs)

    def _operator(self, node: fx.Node) -> op.Operator | None:
        """The node's operator, or None for the identity."""
        if node.op == "call_module":
            module = self.traced.get_submodule(str(node.target))
            rule = MODULE_RULES.get(type(module))
            if rule is not None:
                return rule(module, tuple(self.values[node].shape[1:]))
        else:
            rule = CALL_RULES.get(node.target)
            if rule is not None:
                return rule(self._call(node))
        raise UnsupportedError(f"{_describe(self.traced, node)} is not supported in a network to be verified")

    def _call(self, node: fx.Node) -> Call:
        sources = [n for n in _flat_arguments(node) if isinstance(self.values[n], Tensor)]
        return Call(
            where=_describe(self.traced, node),
            shape=tuple(self.values[node].shape[1:]),
            args=fx.node.map_arg(node.args, lambda n: self.values[n]),
            kwargs=fx.node.map_arg(node.kwargs, lambda n: self.values[n]),
            depends=[isinstance(a, fx.Node) and a in self.names for a in node.args],
            mixed=any(n not in self.names for n in sources),
        )


def _asks_shape(node: fx.Node) -> bool:
    """Whether the node only asks for a tensor's shape or kind, not its numbers."""
    if node.op == "call_function" and node.target is getattr:
        return node.args[1] in _SHAPE_QUERIES
    return node.op == "call_method" and node.target in _SHAPE_QUERIES


def _flat_arguments(node: fx.Node) -> list[fx.Node]:
    found: list[fx.Node] = []
    fx.node.map_arg((node.args, node.kwargs), lambda n: found.append(n) or n)
    return found


def _describe(traced: fx.GraphModule, node: fx.Node) -> str:
    if node.op == "call_module":
        return f"{type(traced.get_submodule(str(node.target))).__name__} (module {node.target!r})"
    return f"{getattr(node.target, '__name__', node.target)} (call {node.name!r})"
