"""Folding scalings: the same function with fewer operators, where it is allowed."""

from __future__ import annotations

import pytest
import torch
from sample_networks import batch_norm
from torch import Tensor, nn

from abcrown_graft.network import operators as op
from abcrown_graft.network.fold import fold_scales
from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.graph import Network, Node
from abcrown_graft.network.trace import from_module

pytestmark = pytest.mark.usefixtures("one_thread")


def kinds(network: Network) -> list[str]:
    return [type(node.operator).__name__ for node in network.nodes[1:]]


def agree(network: Network, module: nn.Module) -> None:
    x = torch.randn(4, *network.input.shape, dtype=network.dtype)
    torch.testing.assert_close(evaluate(network, x), module.eval()(x))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_disappears_into_the_convolution_before_it(bias: bool, affine: bool):
    torch.manual_seed(0)
    norm = batch_norm((3, 4, 4)) if affine else nn.BatchNorm2d(3, affine=False)
    norm.running_mean.normal_()
    module = nn.Sequential(nn.Conv2d(2, 3, 3, 1, 1, bias=bias), norm, nn.ReLU())
    network = from_module(module, (2, 4, 4))
    assert kinds(network) == ["Conv2d", "ReLU"]
    agree(network, module)


def test_batch_norm_disappears_into_the_linear_layer_before_it():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 5), batch_norm((5,)), nn.ReLU())
    assert kinds(from_module(module, (2,))) == ["Linear", "ReLU"]
    agree(from_module(module, (2,)), module)


class Expression(nn.Module):
    """`function(convolution(x), constant)`."""

    def __init__(self, function, constant: Tensor) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 1)
        self.function = function
        self.register_buffer("constant", constant)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.conv(x), self.constant)


CASES = {
    "number": (lambda z, c: 2 * z - 1, torch.zeros(1), ["Conv2d"]),
    "chain": (lambda z, c: (c * z + 3) / 2, torch.randn(3, 1, 1), ["Conv2d"]),
    "per channel": (lambda z, c: c * z, torch.randn(1, 3, 1, 1), ["Conv2d"]),
    "per column": (lambda z, c: c * z, torch.randn(2), ["Conv2d", "Scale"]),
    "per neuron": (lambda z, c: z + c, torch.randn(3, 2, 2), ["Conv2d", "Scale"]),
    "two readers": (lambda z, c: z + c * z, torch.randn(3, 1, 1), ["Conv2d", "Scale", "Add"]),
    "two scalings": (lambda z, c: 3 * z + c * z, torch.randn(3, 1, 1), ["Conv2d", "Scale", "Scale", "Add"]),
    "after an activation": (lambda z, c: c * torch.relu(z), torch.randn(3, 1, 1), ["Conv2d", "ReLU", "Scale"]),
}


@pytest.mark.parametrize("name", CASES)
def test_only_what_acts_per_channel_on_a_layer_with_one_reader_is_folded(name: str):
    torch.manual_seed(0)
    function, constant, expected = CASES[name]
    module = Expression(function, constant)
    network = from_module(module, (1, 2, 2))
    assert kinds(network) == expected
    agree(network, module)


def test_a_scaling_before_a_layer_stays():
    module = nn.Sequential(batch_norm((2, 3, 3)), nn.Conv2d(2, 2, 3, padding=1))
    assert kinds(from_module(module, (2, 3, 3))) == ["Scale", "Conv2d"]


def test_products_are_formed_in_float64_and_rounded_once():
    weight, scale = torch.tensor([[1.1]]), torch.tensor(1.3)
    nodes = (
        Node("input", op.Input(), (), (1,)),
        Node("fc", op.Linear(weight, torch.tensor([0.7])), ("input",), (1,)),
        Node("scale", op.Scale(scale, torch.tensor(-0.9)), ("fc",), (1,)),
    )
    folded = fold_scales(Network(nodes)).output.operator
    assert folded.weight.item() == (weight.double() * scale.double()).float().item()
    exact = torch.tensor(0.7).double() * scale.double() + torch.tensor(-0.9).double()
    assert folded.bias.item() == exact.float().item()


def test_a_scaling_after_a_linear_layer_of_several_rows_stays():
    """There the first axis counts rows, not outputs, even where there are as many of both."""
    torch.manual_seed(0)
    scale = op.Scale(torch.randn(3, 1), torch.randn(3, 1))
    nodes = (
        Node("x", op.Input(), (), (3, 2)),
        Node("rows", op.Linear(torch.randn(3, 2), torch.randn(3)), ("x",), (3, 3)),
        Node("scaled", scale, ("rows",), (3, 3)),
    )
    assert [node.operator for node in fold_scales(Network(nodes)).nodes] == [node.operator for node in nodes]
