"""Exported networks compute what they were made from, for onnxruntime and for this package's reader."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from grafted_networks import grafted, input_shape
from hypothesis import given, settings
from onnx.reference import ReferenceEvaluator
from sample_networks import Sample, samples
from torch import Tensor, nn

from abcrown_graft import __version__
from abcrown_graft.errors import ModelError, UnsupportedError
from abcrown_graft.formats.onnx.export import DEFAULT_OPSET, OPSETS, export_onnx, onnx_model
from abcrown_graft.formats.onnx.reader import read_onnx
from abcrown_graft.formats.onnx.runtime import OnnxruntimeModule
from abcrown_graft.network.fingerprint import weights_fingerprint
from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.graph import Network
from abcrown_graft.network.trace import from_module
from abcrown_graft.nn.activation import GraftedReLU

pytestmark = pytest.mark.usefixtures("one_thread")

KINDS = ("conv", "residual", "dense")


def exported(kind: str) -> Network:
    """A network with random grafts, as a graph."""
    return from_module(grafted(kind), input_shape(kind))


def assert_close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Equal up to float32's rounding, relative to the largest output, or absolute below one."""
    scale = expected.abs().amax().clamp(min=1)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max() / scale) <= tolerance


def assert_round_trip(network: Network, path: Path, points: Tensor, opset: int = DEFAULT_OPSET) -> None:
    """onnxruntime gives the network's outputs at the points, and what is read back its sites, masks and outputs."""
    pytest.importorskip("onnxruntime", reason="onnxruntime judges what a file means")
    export_onnx(network, path, opset)
    found = read_onnx(path)
    expected = evaluate(network, points.to(network.dtype)).double()
    assert_close(OnnxruntimeModule(found, path)(points.float()), expected)
    assert_close(evaluate(found.network, points.double()), expected)
    assert dict(found.network.sites) == dict(network.sites)
    assert all(torch.equal(found.network.grafted_mask(s), network.grafted_mask(s)) for s in network.sites)


@settings(max_examples=40)
@given(sample=samples())
def test_any_network_survives_the_round_trip(tmp_path_factory: pytest.TempPathFactory, sample: Sample) -> None:
    points = sample.box.lower[:1] + torch.randn(4, *sample.network.input.shape, dtype=torch.float64)
    assert_round_trip(sample.network, tmp_path_factory.mktemp("onnx") / "n.onnx", points)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_opset_computes_what_the_module_computes(kind: str, opset: int, tmp_path: Path) -> None:
    points = torch.randn(3, *input_shape(kind))
    module, network = grafted(kind), exported(kind)
    assert_close(evaluate(network, points), module(points).detach())
    assert_round_trip(network, tmp_path / "n.onnx", points, opset)


@pytest.mark.parametrize(("opset", "ir_version"), [(9, 4), (11, 6), (13, 7), (17, 8), (22, 10)])
def test_the_file_is_for_the_oldest_readers_that_know_its_operators(opset: int, ir_version: int) -> None:
    model = onnx_model(exported("conv"), opset)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    assert model.ir_version == ir_version


def test_only_standard_operators_and_no_weights_among_the_inputs() -> None:
    model = onnx_model(exported("residual"))
    assert {node.domain for node in model.graph.node} == {""}
    assert set(Counter(node.op_type for node in model.graph.node)) == {"Conv", "Gemm", "Relu", "Add", "Mul", "Flatten"}
    assert [value.name for value in model.graph.input] == ["input"]
    (shape,) = ([d.dim_value for d in value.type.tensor_type.shape.dim] for value in model.graph.input)
    assert shape == [1, 2, 6, 6]


def test_two_exports_are_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        export_onnx(exported("residual"), tmp_path / name / "n.onnx", about={"b": "2", "a": "1"})
    first, second = ((tmp_path / name / "n.onnx").read_bytes() for name in "ab")
    assert first == second and len(first) > 1000
    export_onnx(from_module(grafted("residual", seed=1), input_shape("residual")), tmp_path / "c.onnx")
    assert (tmp_path / "c.onnx").read_bytes() != first


def test_the_file_says_what_it_is_and_who_made_it() -> None:
    network = exported("dense")
    model = onnx_model(network, about={"abcrown-graft.normalization": "inside"})
    found = {entry.key: entry.value for entry in model.metadata_props}
    assert (model.producer_name, model.producer_version) == ("abcrown-graft", __version__)
    assert found["abcrown-graft.network.weights"] == weights_fingerprint(network)
    assert found["abcrown-graft.normalization"] == "inside"
    assert list(found) == sorted(found)


class TestGraftedSite:
    """Three neurons z = x: `2 z - 1` and `-0.5 z + 3` grafted, a ReLU between them."""

    module = nn.Sequential(
        GraftedReLU(torch.tensor([True, False, True]), torch.tensor([2.0, 7.0, -0.5]), torch.tensor([-1.0, 9.0, 3.0]))
    )
    network = from_module(module, (3,))

    def test_is_a_line_plus_a_gated_relu(self) -> None:
        graph = onnx_model(self.network).graph
        weights = {tensor.name: onnx.numpy_helper.to_array(tensor).tolist() for tensor in graph.initializer}
        assert [node.op_type for node in graph.node] == ["Mul", "Add", "Mul", "Add", "Relu", "Add"]
        assert weights == {
            "0/line.scale": [2.0, 0.0, -0.5],
            "0/line.shift": [-1.0, 0.0, 3.0],
            "0/gate.scale": [0.0, 1.0, 0.0],
            "0/gate.shift": [-1.0, 0.0, -1.0],
        }
        assert list(graph.node[-1].output) == ["0"], "the site's name, for masks and dumps"

    @pytest.mark.parametrize("z", [0.0, -0.0, 1.5, -1.5, 1e-40, 3e30, -3e30])
    def test_is_exact_in_float32(self, z: float) -> None:
        points = np.full((1, 3), z, dtype=np.float32)
        (found,) = ReferenceEvaluator(onnx_model(self.network)).run(None, {"input": points})
        two, half = np.float32(2) * points[0, 0] - np.float32(1), np.float32(-0.5) * points[0, 0] + np.float32(3)
        assert found.tolist() == [[two, max(np.float32(z), np.float32(0)), half]]

    def test_pruned_neurons_are_zero(self) -> None:
        pruned = from_module(nn.Sequential(GraftedReLU(torch.tensor([True, False]), 0.0, 0.0)), (2,))
        (found,) = ReferenceEvaluator(onnx_model(pruned)).run(None, {"input": np.array([[5, 5]], dtype=np.float32)})
        assert found.tolist() == [[0.0, 5.0]]

    def test_without_grafts_is_a_plain_relu(self) -> None:
        plain = from_module(nn.Sequential(GraftedReLU(torch.zeros(3, dtype=torch.bool))), (3,))
        assert [node.op_type for node in onnx_model(plain).graph.node] == ["Relu"]


@pytest.mark.parametrize("opset", (8, 23))
def test_other_opsets_are_refused(opset: int, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=rf"opset {opset} cannot be written; choose one from 9 to 22"):
        export_onnx(exported("dense"), tmp_path / "n.onnx", opset)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", (float("nan"), float("inf"), 1e39))
def test_a_weight_that_float32_does_not_hold_is_refused(value: float, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(2, 2)).double()
    module[0].weight.data[0, 1] = value
    with pytest.raises(ModelError, match=r"_0\.weight: a weight is NaN or too large for float32"):
        export_onnx(from_module(module, (2,)), tmp_path / "n.onnx")
    assert list(tmp_path.iterdir()) == []
