"""From a torch module to the network graph.

The module is traced symbolically and run once on zeros, so that shapes (`x.view(x.size(0), -1)`)
are concrete. Each traced call is then translated by a rule; one without a rule is an error that
names it. Batch normalisation and constant scalings are folded into the layer before them.
"""

from __future__ import annotations

import operator as python
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from abcrown_graft.errors import ModelError, UnsupportedError
from abcrown_graft.graft.activation import GraftedReLU
from abcrown_graft.network import operators as op
from abcrown_graft.network.fold import fold_scales
from abcrown_graft.network.graph import Network, Node
from abcrown_graft.network.sites import is_relu, site_names, symbolic_trace

INPUT = "input"
_BATCH = 2


def from_module(module: nn.Module, input_shape: Sequence[int]) -> Network:
    """The graph of `module` in evaluation mode.

    Args:
        module: any traceable network of the supported operators; it is not changed.
        input_shape: of one input, without batch.

    Raises:
        UnsupportedError: an operation that has no rule; the message names it.
        ModelError: the module does not accept inputs of that shape, or mixes images of a batch.
    """
    was_training = {name: child.training for name, child in module.named_modules()}
    module.eval()
    try:
        traced = symbolic_trace(module)
        values = _run(traced, input_shape)
        return fold_scales(_Reader(traced, values).read())
    finally:
        for name, child in module.named_modules():
            child.training = was_training[name]


class _Recorder(fx.Interpreter):
    """Runs a traced module and keeps the value of every node."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced, garbage_collect_values=False)
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        self.values[n] = super().run_node(n)
        return self.values[n]


@torch.no_grad()
def _run(traced: fx.GraphModule, input_shape: Sequence[int]) -> dict[fx.Node, Any]:
    reference = next(traced.parameters(), torch.zeros(()))
    recorder = _Recorder(traced)
    recorder.extra_traceback = False
    try:
        recorder.run(torch.zeros(_BATCH, *input_shape, dtype=reference.dtype, device=reference.device))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        reason = str(error).strip().splitlines()[0]
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
            if node.op == "placeholder":
                self._add(node, INPUT, op.Input(), ())
            elif node.op == "output":
                return self._finish(node)
            elif any(source in self.names for source in node.all_input_nodes) and self._is_tensor(node):
                self._translate(node)
        raise ModelError("the model has no output")

    def _is_tensor(self, node: fx.Node) -> bool:
        return isinstance(self.values[node], Tensor)

    def _finish(self, node: fx.Node) -> Network:
        result = node.args[0]
        if not isinstance(result, fx.Node) or result not in self.names:
            raise UnsupportedError("the model must return one tensor that depends on its input")
        last = self.names[result]
        names = [n.name for n in self.nodes]
        return Network(tuple(self.nodes[: names.index(last) + 1]))

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
        element_wise = isinstance(operator, (op.Scale, op.Add, op.Activation))
        if element_wise and any(self.values[n].shape != self.values[node].shape for n in sources):
            raise UnsupportedError(f"{_describe(self.traced, node)} broadcasts its input to another shape")
        if operator is None:
            self.names[node] = inputs[0]
        else:
            self._add(node, self.sites.get(node, node.name), operator, inputs)

    def _operator(self, node: fx.Node) -> op.Operator | None:
        """The node's operator, or None for the identity."""
        if is_relu(self.traced, node):
            module = self.traced.get_submodule(str(node.target)) if node.op == "call_module" else None
            return _grafted(module) if isinstance(module, GraftedReLU) else op.ReLU()
        if node.op == "call_module":
            module = self.traced.get_submodule(str(node.target))
            rule = MODULE_RULES.get(type(module))
            if rule is not None:
                return rule(module, tuple(self.values[node].shape[1:]))
        else:
            rule = FUNCTION_RULES.get(node.target)
            if rule is not None:
                return rule(_Call(self, node))
        raise UnsupportedError(f"{_describe(self.traced, node)} is not supported in a network to be verified")


class _Call:
    """A traced call with its constant arguments at hand."""

    def __init__(self, reader: _Reader, node: fx.Node) -> None:
        self.shape = tuple(reader.values[node].shape[1:])
        self.where = _describe(reader.traced, node)
        self.depends = [isinstance(a, fx.Node) and a in reader.names for a in node.args]
        known = reader.values
        self.args = fx.node.map_arg(node.args, lambda n: known[n])
        self.kwargs = fx.node.map_arg(node.kwargs, lambda n: known[n])

    def argument(self, position: int, name: str, default: Any) -> Any:
        """A constant argument by position or keyword."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    def constant(self, position: int, like: Tensor) -> Tensor:
        """A constant operand as a tensor without batch axis."""
        value = torch.as_tensor(self.args[position], dtype=like.dtype, device=like.device)
        if value.dim() == len(self.shape) + 1 and value.shape[0] == 1:
            value = value[0]
        if value.dim() > len(self.shape):
            raise UnsupportedError(f"{self.where}: a constant operand with a batch axis")
        return value.detach()


def _flat_arguments(node: fx.Node) -> list[fx.Node]:
    found: list[fx.Node] = []
    fx.node.map_arg((node.args, node.kwargs), lambda n: found.append(n) or n)
    return found


def _describe(traced: fx.GraphModule, node: fx.Node) -> str:
    if node.op == "call_module":
        return f"{type(traced.get_submodule(str(node.target))).__name__} (module {node.target!r})"
    return f"{getattr(node.target, '__name__', node.target)} (call {node.name!r})"


# --- rules for modules: (module, output shape) -> operator, None for the identity ---------------

ModuleRule = Callable[[Any, tuple[int, ...]], "op.Operator | None"]


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _bias(module: nn.Conv2d | nn.Linear) -> Tensor:
    return module.weight.new_zeros(len(module.weight)) if module.bias is None else module.bias.detach()


def _conv2d(module: nn.Conv2d, shape: tuple[int, ...]) -> op.Operator:
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise UnsupportedError(f"Conv2d with padding {module.padding_mode!r}/{module.padding!r}; use zero padding")
    stride, padding, dilation = _pair(module.stride), _pair(module.padding), _pair(module.dilation)
    return op.Conv2d(module.weight.detach(), _bias(module), stride, padding, dilation, module.groups)


def _linear(module: nn.Linear, shape: tuple[int, ...]) -> op.Operator:
    if len(shape) != 1:
        raise UnsupportedError(f"Linear on a tensor of shape {shape}; flatten it first")
    return op.Linear(module.weight.detach(), _bias(module))


def _batch_norm(module: nn.BatchNorm1d | nn.BatchNorm2d, shape: tuple[int, ...]) -> op.Operator:
    if module.running_mean is None or module.running_var is None:
        raise UnsupportedError("batch normalisation without running statistics")
    double = torch.float64
    scale = torch.rsqrt(module.running_var.to(double) + module.eps)
    shift = -module.running_mean.to(double) * scale
    if module.affine:
        weight, bias = module.weight.detach().to(double), module.bias.detach().to(double)
        scale, shift = scale * weight, shift * weight + bias
    channels = (-1,) + (1,) * (len(shape) - 1)
    dtype = module.running_mean.dtype
    return op.Scale(scale.to(dtype).view(channels), shift.to(dtype).view(channels))


def _avg_pool(module: nn.AvgPool2d, shape: tuple[int, ...]) -> op.Operator:
    if module.ceil_mode or module.divisor_override or (module.padding and not module.count_include_pad):
        raise UnsupportedError("AvgPool2d with ceil_mode, divisor_override or count_include_pad=False")
    return op.AvgPool2d(_pair(module.kernel_size), _pair(module.stride), _pair(module.padding))


def _zero_pad(module: nn.ZeroPad2d, shape: tuple[int, ...]) -> op.Operator:
    return op.Pad(tuple(module.padding))


def _leaky(module: nn.LeakyReLU, shape: tuple[int, ...]) -> op.Operator:
    return _leaky_relu(module.negative_slope)


def _leaky_relu(slope: float) -> op.Operator:
    if not 0 <= slope <= 1:
        raise UnsupportedError(f"LeakyReLU with negative_slope {slope}; it must lie in [0, 1]")
    return op.LeakyReLU(float(slope))


def _grafted(module: GraftedReLU) -> op.Operator:
    return op.GraftedReLU(module.mask, module.slope.detach(), module.intercept.detach())


MODULE_RULES: dict[type, ModuleRule] = {
    nn.Conv2d: _conv2d,
    nn.Linear: _linear,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.AvgPool2d: _avg_pool,
    nn.ZeroPad2d: _zero_pad,
    nn.LeakyReLU: _leaky,
    nn.Flatten: lambda module, shape: op.Reshape(shape),
    nn.Unflatten: lambda module, shape: op.Reshape(shape),
    nn.Identity: lambda module, shape: None,
    nn.Dropout: lambda module, shape: None,
    nn.Dropout2d: lambda module, shape: None,
}


# --- rules for functions and methods: call -> operator, None for the identity -------------------


def _reshape(call: _Call) -> op.Operator:
    return op.Reshape(call.shape)


def _add(call: _Call) -> op.Operator:
    if call.kwargs:
        raise UnsupportedError(f"{call.where}: keyword arguments")
    if all(call.depends[:2]):
        return op.Add()
    x, other = (0, 1) if call.depends[0] else (1, 0)
    return op.Scale(call.args[x].new_ones(()), call.constant(other, call.args[x]))


def _sub(call: _Call) -> op.Operator:
    if all(call.depends[:2]):
        raise UnsupportedError(f"{call.where}: the difference of two tensors that depend on the input")
    if call.depends[0]:
        return op.Scale(call.args[0].new_ones(()), -call.constant(1, call.args[0]))
    return op.Scale(-call.args[1].new_ones(()), call.constant(0, call.args[1]))


def _mul(call: _Call) -> op.Operator:
    if all(call.depends[:2]):
        raise UnsupportedError(f"{call.where}: the product of two tensors that depend on the input")
    x, other = (0, 1) if call.depends[0] else (1, 0)
    return op.Scale(call.constant(other, call.args[x]), call.args[x].new_zeros(()))


def _div(call: _Call) -> op.Operator:
    if not call.depends[0] or call.depends[1] or call.kwargs:
        raise UnsupportedError(f"{call.where}: division by a tensor that depends on the input")
    divisor = call.constant(1, call.args[0])
    return op.Scale((1 / divisor.double()).to(divisor.dtype), call.args[0].new_zeros(()))


def _concat(call: _Call) -> op.Operator:
    axis = call.argument(1, "dim", 0)
    axis = axis - 1 if axis > 0 else axis + len(call.shape)
    if not 0 <= axis < len(call.shape):
        raise UnsupportedError(f"{call.where}: concatenation along the batch")
    return op.Concat(axis)


def _function_leaky(call: _Call) -> op.Operator:
    return _leaky_relu(call.argument(1, "negative_slope", 0.01))


def _function_avg_pool(call: _Call) -> op.Operator:
    if set(call.kwargs) - {"kernel_size", "stride", "padding"} or len(call.args) > 4:
        raise UnsupportedError(f"{call.where}: only kernel_size, stride and padding")
    kernel = _pair(call.argument(1, "kernel_size", None))
    stride = call.argument(2, "stride", None)
    return op.AvgPool2d(kernel, _pair(stride) if stride else kernel, _pair(call.argument(3, "padding", 0)))


def _function_pad(call: _Call) -> op.Operator:
    if call.argument(2, "mode", "constant") != "constant" or call.argument(3, "value", 0) not in (0, None):
        raise UnsupportedError(f"{call.where}: padding other than with zeros")
    return op.Pad(tuple(call.argument(1, "pad", ())))


def _identity(call: _Call) -> None:
    return None


FUNCTION_RULES: dict[Any, Callable[[_Call], op.Operator | None]] = {
    torch.flatten: _reshape,
    torch.reshape: _reshape,
    "flatten": _reshape,
    "view": _reshape,
    "reshape": _reshape,
    "contiguous": _identity,
    functional.dropout: _identity,
    python.add: _add,
    torch.add: _add,
    "add": _add,
    python.iadd: _add,
    python.sub: _sub,
    torch.sub: _sub,
    python.mul: _mul,
    torch.mul: _mul,
    python.truediv: _div,
    torch.div: _div,
    torch.cat: _concat,
    functional.leaky_relu: _function_leaky,
    functional.avg_pool2d: _function_avg_pool,
    functional.pad: _function_pad,
}
