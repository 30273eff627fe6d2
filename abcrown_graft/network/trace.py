"""From a torch module to the network graph.

The module is traced symbolically and run once on zeros, so that shapes (`x.view(x.size(0), -1)`)
are concrete. Each traced call is then translated by the rule that an operator files for it (`translation.py`);
one without a rule is an error that names it. Operations that the output does not depend on are left
out. Batch normalisation and constant scalings are folded into the layer before them.

The graph has to be the module, not what the module was once. So it is read twice, at two sizes of the batch, and
both readings must be the same operators with the same constants; the module's code is watched while it runs
(`nn/purity.py`), and what it makes of the batch's size is followed (`queries.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.lazy import LazyModuleMixin

from abcrown_graft.errors import AbcrownGraftError, ModelError, UnsupportedError
from abcrown_graft.network import operators as op
from abcrown_graft.network.fold import fold_scales
from abcrown_graft.network.graph import Network, Node
from abcrown_graft.network.operators.scale import batch_norm_steps
from abcrown_graft.network.queries import Answers, asks_shape
from abcrown_graft.network.readings import first_difference
from abcrown_graft.network.translation import CALL_RULES, MODULE_RULES, Call
from abcrown_graft.nn.purity import UNWRITTEN, WatchedOperations
from abcrown_graft.nn.sites import site_names, symbolic_trace

INPUT = "input"
_BATCH, _OTHER_BATCH = 2, 3
_RESHAPES = ("view", "reshape", torch.reshape)
"""Calls that take the size of the batch in front of a shape."""


def from_module(module: nn.Module, input_shape: Sequence[int], attached: bool = False) -> Network:
    """The graph of `module` in evaluation mode.

    Args:
        module: any traceable network of the supported operators; it is not changed.
        input_shape: of one input, without batch.
        attached: the constants are differentiable functions of the module's parameters, for certified training;
            otherwise nothing of the network needs a gradient. Such a graph is read once only.

    Raises:
        UnsupportedError: an operation has no rule, mixes the images of a batch, or changes in place
            what is read later; the output depends on more than the image and the weights (random numbers, the size of
            the batch, what earlier calls left behind); the message names it.
        ModelError: the module does not accept inputs of that shape.
    """
    with _evaluation(module):
        if attached:
            return fold_scales(_read(module, input_shape, attached=True))
        network = fold_scales(_read_twice(module, input_shape))
        return network.map_tensors(Tensor.detach)


def as_executed(module: nn.Module, input_shape: Sequence[int]) -> Network:
    """As `from_module`, with an operator for every step that the module takes: nothing is folded.

    It is the same function in real arithmetic, and rounds where the module does.
    """
    with _evaluation(module):
        return _read(module, input_shape, stepwise=True).map_tensors(Tensor.detach)


@contextmanager
def _evaluation(module: nn.Module) -> Iterator[None]:
    was_training = {name: child.training for name, child in module.named_modules()}
    module.eval()
    try:
        yield
    finally:
        for name, child in module.named_modules():
            child.training = was_training[name]


def _read_twice(module: nn.Module, input_shape: Sequence[int]) -> Network:
    """The graph, read at two sizes of the batch."""
    network, again = (_read(module, input_shape, batch) for batch in (_BATCH, _OTHER_BATCH))
    difference = first_difference(network, again)
    if difference is not None:
        raise UnsupportedError(
            f"{difference} the second time the module is traced, at another size of the batch; its output must depend "
            "on nothing but one image and the weights"
        )
    return network


def _read(
    module: nn.Module, input_shape: Sequence[int], batch: int = _BATCH, attached: bool = False, stepwise: bool = False
) -> Network:
    _refuse_training(module)
    traced = symbolic_trace(module)
    _refuse_training(module)
    with torch.set_grad_enabled(attached):
        values = _run(traced, input_shape, batch)
        return _Reader(traced, values, batch, stepwise).read()


def _refuse_training(module: nn.Module) -> None:
    """Raises where `eval()` does not reach, or the forward pass undoes it: dropout would drop there."""
    for name, child in module.named_modules():
        if child.training:
            where = f"submodule {name!r}" if name else "the model"
            raise UnsupportedError(
                f"{where} ({type(child).__name__}) is in training mode in spite of eval(); a network to be verified "
                "is in evaluation mode, whose dropout and batch statistics are fixed"
            )


class _Recorder(fx.Interpreter):
    """Runs a traced module and keeps the value of every node.

    A graph has no operations in place: one is fine only if nothing reads the old value afterwards.
    Torch counts the changes of a tensor and its views in `_version`.
    """

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced, garbage_collect_values=False)
        self.traced = traced
        self.operations = WatchedOperations(traced)
        self.values: dict[fx.Node, Any] = {}
        self.versions: dict[fx.Node, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        for source in n.all_input_nodes:
            if source in self.versions and self.values[source]._version != self.versions[source]:
                raise UnsupportedError(
                    f"{n.name!r} reads {source.name!r} after an operation changed it in place; use inplace=False"
                )
        self.operations.where = _describe(self.traced, n)
        self.operations.in_torch = getattr(n.target, "__name__", n.target) not in UNWRITTEN
        if _makes_weights(self.traced, n):
            self.values[n] = super().run_node(n)
        else:
            with self.operations:
                self.values[n] = super().run_node(n)
        if isinstance(self.values[n], Tensor):
            self.versions[n] = self.values[n]._version
        return self.values[n]


def _makes_weights(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether the node calls a layer that makes its random weights when it is first called."""
    return node.op == "call_module" and isinstance(traced.get_submodule(str(node.target)), LazyModuleMixin)


def _run(traced: fx.GraphModule, input_shape: Sequence[int], batch: int) -> dict[fx.Node, Any]:
    reference = next(traced.parameters(), torch.zeros(()))
    recorder = _Recorder(traced)
    recorder.extra_traceback = False
    try:
        recorder.run(torch.zeros(batch, *input_shape, dtype=reference.dtype, device=reference.device))
    except AbcrownGraftError:
        raise
    except Exception as error:  # whatever the user's constants and torch's kernels raise on this shape
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"the model does not accept inputs of shape {tuple(input_shape)}: {reason}") from None
    return recorder.values


class _Reader:
    """Translates traced nodes one by one."""

    def __init__(self, traced: fx.GraphModule, values: dict[fx.Node, Any], batch: int, stepwise: bool) -> None:
        self.traced = traced
        self.values = values
        self.batch = batch
        self.stepwise = stepwise
        self.answers = Answers(lambda node: _describe(traced, node), values)
        self.sites = site_names(traced)
        self.names: dict[fx.Node, str] = {}
        self.nodes: list[Node] = []

    def read(self) -> Network:
        for node in self.traced.graph.nodes:
            if node.op == "placeholder" and not self.nodes:
                self._add(node, INPUT, op.Input(), ())
            elif node.op == "output":
                return self._finish(node)
            elif asks_shape(node):
                self.answers.ask(node, self._depends(node))
            elif self._depends(node):
                self.answers.check(node, reshapes=node.target in _RESHAPES)
                self._translate(node)
            else:
                self.answers.follow(node)
        raise ModelError("the model has no output")

    def _depends(self, node: fx.Node) -> bool:
        return any(source in self.names for source in node.all_input_nodes)

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
        if not shape or shape[0] != self.batch:
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
            return
        module = self.traced.get_submodule(str(node.target)) if node.op == "call_module" else None
        if self.stepwise and isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            first, operator = batch_norm_steps(module, tuple(self.values[node].shape[1:]))
            name = f"{node.name}.centred"
            self._add(node, name, first, inputs)
            inputs = (name,)
        self._add(node, self.sites.get(node, node.name), operator, inputs)

    def _operator(self, node: fx.Node) -> op.Operator | None:
        """The node's operator, or None for the identity."""
        if node.op == "call_module":
            module = self.traced.get_submodule(str(node.target))
            of_module = MODULE_RULES.get(type(module))
            if of_module is not None:
                return of_module(module, tuple(self.values[node].shape[1:]))
        else:
            of_call = CALL_RULES.get(node.target)
            if of_call is not None:
                return of_call(self._call(node))
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


def _flat_arguments(node: fx.Node) -> list[fx.Node]:
    found: list[fx.Node] = []

    def note(argument: fx.Node) -> fx.Node:
        found.append(argument)
        return argument

    fx.node.map_arg((node.args, node.kwargs), note)
    return found


def _describe(traced: fx.GraphModule, node: fx.Node) -> str:
    if node.op == "call_module":
        return f"{type(traced.get_submodule(str(node.target))).__name__} (module {node.target!r})"
    return f"{getattr(node.target, '__name__', node.target)} (call {node.name!r})"
