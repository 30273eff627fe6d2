"""Every operator of a network as ONNX, one by one, in the opsets in which they are written differently."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from abcrown_graft.formats.onnx.export import export_onnx, onnx_model
from abcrown_graft.formats.onnx.reader import read_onnx
from abcrown_graft.formats.onnx.runtime import OnnxruntimeModule
from abcrown_graft.network import operators as op
from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.graph import Network, Node

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGE = (2, 4, 5)


def numbers(*shape: int) -> torch.Tensor:
    """Random numbers of both signs, the same in every run."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape) + sum(shape)))


def permuted(shape: tuple[int, ...], *axes: int) -> torch.Tensor:
    """The index that exchanges axes."""
    return torch.arange(1, torch.Size(shape).numel() + 1).view(shape).permute(axes).contiguous()


CASES = {
    "conv": (IMAGE, op.Conv2d(numbers(3, 2, 3, 2), numbers(3), (2, 1), (1, 0), (1, 2), 1)),
    "grouped conv": (IMAGE, op.Conv2d(numbers(4, 1, 2, 2), numbers(4), (1, 1), (0, 1), (1, 1), 2)),
    "linear": ((5,), op.Linear(numbers(3, 5), numbers(3))),
    "linear of several rows": ((2, 4, 5), op.Linear(numbers(3, 5), numbers(3))),
    "average of padded pixels": (IMAGE, op.AvgPool2d((3, 2), (2, 1), (1, 1))),
    "pad": (IMAGE, op.Pad((1, 0, 2, 3))),
    "pad of one axis": (IMAGE, op.Pad((0, 2))),
    "flatten": (IMAGE, op.Reshape((40,))),
    "reshape": (IMAGE, op.Reshape((5, 8))),
    "transpose": (IMAGE, op.Select(permuted(IMAGE, 2, 0, 1))),
    "slice of a vector": ((5,), op.Select(torch.tensor([2, 4]))),
    "pick with zeros": (IMAGE, op.Select(torch.tensor([[0, 1, 40], [7, 0, 7]]))),
    "scale of channels": (IMAGE, op.Scale(numbers(2, 1, 1), numbers(2, 1, 1))),
    "scale of neurons": (IMAGE, op.Scale(numbers(*IMAGE), torch.tensor(0.5))),
    "scale alone": (IMAGE, op.Scale(numbers(2, 1, 1), torch.tensor(0.0))),
    "shift alone": (IMAGE, op.Scale(torch.tensor(1.0), numbers(4, 1))),
    "neither": (IMAGE, op.Scale(torch.tensor(1.0), torch.tensor(0.0))),
    "relu": (IMAGE, op.ReLU()),
    "leaky relu": (IMAGE, op.LeakyReLU(0.2)),
}


def alone(shape: tuple[int, ...], operator: op.Operator) -> Network:
    """A network of one operator behind its input."""
    output = tuple(operator.value(torch.zeros(1, *shape)).shape[1:])
    return Network((Node("x", op.Input(), (), shape), Node("y", operator, ("x",), output)))


@pytest.mark.parametrize("opset", (9, 11, 13, 18, 22))
@pytest.mark.parametrize("name", CASES)
def test_onnxruntime_and_the_reader_agree_with_the_operator(name: str, opset: int, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime judges what a file means")
    shape, operator = CASES[name]
    network, path = alone(shape, operator), tmp_path / "n.onnx"
    export_onnx(network, path, opset)
    points = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    found, expected = read_onnx(path), evaluate(network, points).flatten(1).double()
    assert expected.abs().max() > 0.1
    assert torch.allclose(OnnxruntimeModule(found, path)(points), expected, rtol=1e-5, atol=1e-5)
    assert torch.allclose(evaluate(found.network, points.double()), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("operator", "shape"), [(op.Add(), IMAGE), (op.Concat(1), (2, 8, 5))], ids=["add", "concat"])
def test_two_branches(operator: op.Operator, shape: tuple[int, ...], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime judges what a file means")
    halved = op.Scale(torch.tensor(-0.5), torch.tensor(0.0))
    nodes = (Node("x", op.Input(), (), IMAGE), Node("a", halved, ("x",), IMAGE), Node("y", operator, ("x", "a"), shape))
    network, path, points = Network(nodes), tmp_path / "n.onnx", numbers(1, *IMAGE)
    export_onnx(network, path)
    expected = evaluate(network, points).flatten(1).double()
    assert torch.allclose(OnnxruntimeModule(read_onnx(path), path)(points), expected, atol=1e-6)


def test_scalings_by_one_and_shifts_by_zero_are_not_written() -> None:
    kinds = {name: [node.op_type for node in onnx_model(alone(*CASES[name])).graph.node] for name in CASES}
    assert kinds["scale of channels"] == ["Mul", "Add"]
    assert (kinds["scale alone"], kinds["shift alone"], kinds["neither"]) == (["Mul"], ["Add"], ["Mul"])


def test_a_normalisation_has_constants_with_a_batch_axis() -> None:
    """As α,β-CROWN's patches mode wants them."""
    weights = onnx_model(alone(*CASES["scale of channels"])).graph.initializer
    assert [list(tensor.dims) for tensor in weights] == [[1, 2, 1, 1]] * 2
