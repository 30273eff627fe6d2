"""From the network graph to plain ONNX that any verifier reads.

Only standard operators in float32, one file without external data. The same network makes the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import onnx
from onnx import helper

from abcrown_graft import __version__
from abcrown_graft.errors import UnsupportedError
from abcrown_graft.files import write_atomically
from abcrown_graft.formats.onnx.export_graph import OnnxGraph
from abcrown_graft.network.fingerprint import architecture_fingerprint, weights_fingerprint
from abcrown_graft.network.graph import Network

OPSETS = range(9, 23)
"""Versions of ONNX's operators that can be written."""
DEFAULT_OPSET = 9
"""The oldest: all that is written exists there, and tools lag years behind."""
PRODUCER = "abcrown-graft"


def export_onnx(
    network: Network,
    path: str | os.PathLike[str],
    opset: int = DEFAULT_OPSET,
    about: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Writes a network as an ONNX file, atomically; arguments and errors as of `onnx_model`."""
    write_atomically(Path(path), onnx_model(network, opset, about).SerializeToString(deterministic=True))


def onnx_model(
    network: Network, opset: int = DEFAULT_OPSET, about: Mapping[str, str] = MappingProxyType({})
) -> onnx.ModelProto:
    """A network as an ONNX model in float32, for one input at a time.

    Activation sites lend their names to the tensors they make. A grafted site is spelled out as
    `A z + B + relu(R z - m)`, see `network.operators.grafted_relu`; `read_onnx` makes it a site again.

    Args:
        network: input `(*shape)` becomes `(1, *shape)`.
        opset: one of `OPSETS`; the file has the oldest IR version that knows it.
        about: further metadata. Fingerprints of the network that is written are always there.

    Raises:
        UnsupportedError: the opset, or an operator that it cannot say.
        ModelError: a weight is not finite in float32.
    """
    if opset not in OPSETS:
        raise UnsupportedError(f"opset {opset} cannot be written; choose one from {OPSETS[0]} to {OPSETS[-1]}")
    graph = OnnxGraph(opset, (node.name for node in network.nodes))
    for node in network.nodes[1:]:
        node.operator.write_onnx(graph, node.inputs, network.input_shapes(node.name), node.name)
    ends = [(node.name, node.shape) for node in (network.input, network.output)]
    version = helper.make_opsetid("", opset)
    model = helper.make_model(
        graph.build(ends[0], ends[1]),
        opset_imports=[version],
        ir_version=helper.find_min_ir_version_for([version]),
        producer_name=PRODUCER,
        producer_version=__version__,
    )
    helper.set_model_props(model, dict(sorted({**_fingerprints(network), **about}.items())))
    onnx.checker.check_model(model, full_check=True)
    return model


def _fingerprints(network: Network) -> dict[str, str]:
    return {
        f"{PRODUCER}.network.architecture": architecture_fingerprint(network),
        f"{PRODUCER}.network.weights": weights_fingerprint(network),
    }
