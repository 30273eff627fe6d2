"""Module and graph agree up to rounding at every size of the batch and at every call, or an error says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from abcrown_graft.errors import ModelError
from abcrown_graft.models.agreement import check_agreement, spread
from abcrown_graft.models.load import prepare
from abcrown_graft.network.graph import Network
from abcrown_graft.network.trace import as_executed, from_module

pytestmark = pytest.mark.usefixtures("one_thread")


class Changed(nn.Module):
    """A network and what else its forward pass does: `change(y, x, number of the call)`."""

    def __init__(self, change: Callable[[Tensor, Tensor, int], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 3))
        self.change, self.calls = change, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.change(self.net(x), x, self.calls)


def graphs(model: Changed) -> tuple[Network, Network]:
    """Of the network alone: folded, and step by step."""
    double = Changed(model.change).net.double()
    return from_module(double, (6,)), as_executed(double, (6,))


def compared(change: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    model = Changed(change)
    check_agreement(model, *graphs(model), torch.rand(5, 6), "points")


def test_the_same_function_agrees():
    compared(lambda y, x, call: y)


def test_so_does_float32_in_another_order():
    compared(lambda y, x, call: y + 1 - 1 if y.dtype == torch.float64 else (y.double() * (1 + 1e-7)).float())


OTHERS = {
    "a billionth more": lambda y, x, call: y + 1e-9,
    "more in a batch": lambda y, x, call: y + 1e-9 * (len(x) > 2),
    "more for one image": lambda y, x, call: y + 1e-9 * (len(x) == 1),
    "more for two images": lambda y, x, call: y + 1e-9 * (len(x) == 2),
    "more later": lambda y, x, call: y + 1e-9 * (call > 5),
    "more at first": lambda y, x, call: y + 1e-9 * (call == 1),
    "chance": lambda y, x, call: y + 1e-9 * torch.rand(3),
    "chance, rarely": lambda y, x, call: y + 1e-9 * (torch.rand(len(x), 1) < 0.5),
    "the other images": lambda y, x, call: y + 1e-9 * x.mean(),
    "the first image": lambda y, x, call: y + 1e-9 * x[:1].sum(),
    "more in float32": lambda y, x, call: y + 1e-3 * (y.dtype == torch.float32),
    "bfloat16": lambda y, x, call: y.bfloat16().to(y.dtype),
    "bfloat16 in float32": lambda y, x, call: y if y.dtype == torch.float64 else y.bfloat16().float(),
    "NaN": lambda y, x, call: y * float("nan"),
    "infinity": lambda y, x, call: y + float("inf"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_function_does_not(name: str):
    with pytest.raises(ModelError, match="graph does not compute what the model does: on points .* rounding explains"):
        compared(OTHERS[name])


def test_nor_does_a_graph_with_another_weight():
    model = Changed(lambda y, x, call: y)
    exact, executed = graphs(model)
    with pytest.raises(ModelError, match="does not compute"):
        check_agreement(model, exact.map_tensors(lambda t: t * (1 + 1e-11)), executed, torch.rand(5, 6), "points")


def test_another_number_of_outputs_is_told():
    with pytest.raises(ModelError, match=r"the model's output has shape \(5, 2\), that of its graph \(5, 3\)"):
        compared(lambda y, x, call: y[:, :2])


def cancelling(size: float) -> nn.Module:
    """`y = (x, 0.1 + x)`, the first by way of `size * x - size * x + x`."""
    first, last = nn.Linear(1, 3, bias=False), nn.Linear(3, 2)
    first.weight.data[:] = 1
    last.weight.data = torch.tensor([[size, -size, 1.0], [0.0, 0.0, 1.0]])
    last.bias.data = torch.tensor([0.0, 0.1])
    return nn.Sequential(first, nn.ReLU(), last)


def test_a_network_that_rounds_more_than_its_margins_is_refused():
    prepare(cancelling(100.0), (1,))
    with pytest.raises(
        ModelError, match=r"float32 may round the model's outputs by more than .* against 0\.1, at 3 of 3 random images"
    ):
        prepare(cancelling(1e7), (1,))


def test_equal_outputs_have_no_margin_to_lose_and_one_output_has_none():
    for outputs in (1, 2):
        module = nn.Sequential(nn.Linear(3, outputs))
        module[0].weight.data[:] = module[0].bias.data[:] = 1
        prepare(module, (3,))


def test_products_are_float32_s_while_they_are_compared():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    seen = set()
    torch.set_float32_matmul_precision("medium")
    try:
        compared(
            lambda y, x, call: (seen.add((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)), y)[1]
        )
        assert seen == {("highest", False)} and torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before[0])
    assert torch.backends.cudnn.allow_tf32 == before[1]


def test_points_are_spread_from_the_first_to_the_last():
    points = torch.arange(10)
    assert spread(points, 4).tolist() == [0, 3, 6, 9]
    assert spread(points, 20).tolist() == list(range(10)) and spread(points[:1], 3).tolist() == [0]
