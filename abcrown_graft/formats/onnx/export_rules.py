"""How each operator of a network is said in standard ONNX: one rule per operator."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

import torch
from torch import Tensor

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.formats.onnx.export_graph import OnnxGraph
from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Node

PAD_BY_INPUT = 11
"""The opset from which on the amounts of Pad are an input, not an attribute."""


@singledispatch
def write(operator: op.Operator, graph: OnnxGraph, node: Node, sources: Sequence[Node]) -> None:
    """Adds the operator of a node to a graph, as ONNX nodes of which the last makes a tensor of the node's name.

    Args:
        operator: the node's.
        graph: takes the ONNX nodes; the tensors of the sources are there by their names.
        node: what is written.
        sources: the nodes that it reads.
    """
    raise UnsupportedError(f"{node.name}: operator {type(operator).__name__} cannot be exported to ONNX")


@write.register
def _(operator: op.Conv2d, graph: OnnxGraph, node: Node, sources: Sequence[Node]) -> None:
    weight = graph.weight(f"{node.name}.weight", operator.weight)
    bias = graph.weight(f"{node.name}.bias", operator.bias)
    graph.call(
        "Conv",
        [sources[0].name, weight, bias],
        node.name,
        kernel_shape=list(operator.weight.shape[2:]),
        strides=list(operator.stride),
        pads=[*operator.padding, *operator.padding],
        dilations=list(operator.dilation),
        group=operator.groups,
    )


@write.register
def _(operator: op.Linear, graph: OnnxGraph, node: Node, sources: Sequence[Node]) -> None:
    if len(sources[0].shape) == 1:
        weight = graph.weight(f"{node.name}.weight", operator.weight)
        bias = graph.weight(f"{node.name}.bias", operator.bias)
        graph.call("Gemm", [sources[0].name, weight, bias], node.name, transB=1)
        return
    weight = graph.weight(f"{node.name}.weight", operator.weight.T)
    product = graph.call("MatMul", [sources[0].name, weight], graph.inner(f"{node.name}/product"))
    graph.call("Add", [product, graph.weight(f"{node.name}.bias", operator.bias)], node.name)


@write.register
def _(operator: op.AvgPool2d, graph: OnnxGraph, node: Node, sources: Sequence[Node]) -> None:
    graph.call(
        "AveragePool",
        [sources[0].name],
        node.name,
        kernel_shape=list(operator.kernel),
        strides=list(operator.stride),
        pads=[*operator.padding, *operator.padding],
        count_include_pad=1,
    )


@write.register
def _(operator: op.Pad, graph: OnnxGraph, node: Node, sources: Sequence[Node]) -> None:
    amounts = operator.amounts
    axes = len(node.shape) - len(amounts) // 2 + 1
    begin, end = ([0] * axes + list(amounts[first::2])[::-1] for first in (0, 1))
    _pad(graph, sources[0].name, begin + end, node.name)


def _pad(graph: OnnxGraph, source: str, pads: list[int], output: str) -> None:
    """Zero padding by `pads`, all axes' begins and then all ends."""
    if graph.opset < PAD_BY_INPUT:
        graph.call("Pad", [source], output, mode="constant", pads=pads, value=0.0)
    else:
        graph.call("Pad", [source, graph.integers(f"{output}.pads", pads)], output, mode="constant")


@write.register
def _(operator: op.Reshape, graph: OnnxGraph, node: Node, sources: Sequence[Node]) -> None:
    if len(operator.shape) == 1:
        graph.call("Flatten", [sources[0].name], node.name, axis=1)
        return
    shape = graph.integers(f"{node.name}.shape", [-1, *operator.shape])  # -1: also for tools that add a batch
    graph.call("Reshape", [sources[0].name, shape], node.name)


@write.register
def _(operator: op.Select, graph: OnnxGraph, node: Node, sources: Sequence[Node]) -> None:
    source, index = sources[0].name, operator.index
    if len(sources[0].shape) > 1:
        source = graph.call("Flatten", [source], graph.inner(f"{node.name}/flat"), axis=1)
    if bool((index == 0).any()):
        padded = graph.inner(f"{node.name}/padded")
        _pad(graph, source, [0, 1, 0, 0], padded)
        source = padded
    else:
        index = index - 1
    places = graph.integers(f"{node.name}.index", index.cpu().numpy())
    graph.call("Gather", [source, places], node.name, axis=1)


@write.register
def _(operator: op.Add, graph: OnnxGraph, node: Node, sources: Sequence[Node]) -> None:
    graph.call("Add", [source.name for source in sources], node.name)


@write.register
def _(operator: op.Concat, graph: OnnxGraph, node: Node, sources: Sequence[Node]) -> None:
    graph.call("Concat", [source.name for source in sources], node.name, axis=operator.axis + 1)


@write.register
def _(operator: op.Scale, graph: OnnxGraph, node: Node, sources: Sequence[Node]) -> None:
    """The constants have a batch axis: α,β-CROWN's patches mode wants `(1, channels, 1, 1)` of a normalisation."""
    scale, shift = (
        t.reshape((1,) * (len(node.shape) + 1 - t.dim()) + t.shape) for t in (operator.scale, operator.shift)
    )
    _line(graph, node, sources[0].name, scale, shift, node.name)


@write.register
def _(operator: op.ReLU, graph: OnnxGraph, node: Node, sources: Sequence[Node]) -> None:
    graph.call("Relu", [sources[0].name], node.name)


@write.register
def _(operator: op.LeakyReLU, graph: OnnxGraph, node: Node, sources: Sequence[Node]) -> None:
    graph.call("LeakyRelu", [sources[0].name], node.name, alpha=operator.negative_slope)


@write.register
def _(operator: op.GraftedReLU, graph: OnnxGraph, node: Node, sources: Sequence[Node]) -> None:
    """`A z + B + relu(R z - m)` with `R = 1 - m`, `A = m slope`, `B = m intercept`: exact, also in float32.

    Where a neuron is grafted the ReLU gets the constant -1, so that every tool sees it as inactive. The subtraction
    is an addition of `-m`, which more of them know; α,β-CROWN's branching is one. The constants have no batch axis,
    of which α,β-CROWN warns where they are as large as the neurons.
    """
    if not bool(operator.mask.any()):
        graph.call("Relu", [sources[0].name], node.name)
        return
    z, mask = sources[0].name, operator.mask
    nothing = torch.zeros_like(operator.slope)
    slope, intercept = (torch.where(mask, t, nothing) for t in (operator.slope, operator.intercept))
    grafted = mask.to(operator.slope)
    line = _line(graph, node, z, slope, intercept, graph.inner(f"{node.name}/line"), "line")
    gate = _line(graph, node, z, 1 - grafted, -grafted, graph.inner(f"{node.name}/gate"), "gate")
    kept = graph.call("Relu", [gate], graph.inner(f"{node.name}/relu"))
    graph.call("Add", [line, kept], node.name)


def _line(graph: OnnxGraph, node: Node, source: str, scale: Tensor, shift: Tensor, output: str, part: str = "") -> str:
    """`scale * source + shift`, without a product by ones or a sum with zeros; the name of its tensor."""
    prefix = f"{node.name}/{part}" if part else node.name
    scaled, shifted = bool((scale != 1).any()), bool((shift != 0).any())
    if scaled or not shifted:
        product = graph.inner(f"{prefix}/product") if shifted else output
        source = graph.call("Mul", [source, graph.weight(f"{prefix}.scale", scale)], product)
    if shifted:
        graph.call("Add", [source, graph.weight(f"{prefix}.shift", shift)], output)
    return output
