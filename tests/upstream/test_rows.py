"""Grafted neurons are not bounded as intermediate neurons, and no other bound changes."""

from __future__ import annotations

import copy
from typing import Any

import grafted_networks as networks
import pytest
import torch
import upstream
from torch import Tensor, nn

from abcrown_graft.nn.activation import GraftedReLU

lirpa = upstream.imported("auto_LiRPA")
operator = upstream.imported("abcrown_graft.engines.abcrown.operator")
as_abcrown_network = upstream.imported("abcrown_graft.engines.abcrown.network").as_abcrown_network
skip_grafted_rows = upstream.imported("abcrown_graft.engines.abcrown.rows").skip_grafted_rows

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("one_thread")]

KINDS = ("conv", "residual", "dense")
OPTIONS = {
    **dict.fromkeys(("sparse_intermediate_bounds", "sparse_features_alpha", "sparse_spec_alpha"), True),
    "sparse_conv_intermediate_bounds": True,
    "use_full_conv_alpha": True,
    "optimize_bound_args": {"iteration": 10, "early_stop_patience": 20},
}


def bounded(module: nn.Module, x: Tensor, **options: Any) -> Any:
    return lirpa.BoundedModule(as_abcrown_network(module), torch.zeros_like(x), bound_opts={**OPTIONS, **options})


def bounds(net: Any, x: Tensor, method: str) -> Tensor:
    """Lower and upper bounds of the output, one after the other."""
    ball = lirpa.PerturbationLpNorm(norm=float("inf"), eps=0.1)
    return torch.cat(net.compute_bounds(x=(lirpa.BoundedTensor(x, ball),), method=method)).detach()


def centre(kind: str) -> Tensor:
    torch.manual_seed(0)
    return torch.rand(1, *networks.input_shape(kind))


def bounded_rows(net: Any) -> dict[str, int]:
    """Has the number of rows that are bounded noted, by node."""
    rows: dict[str, int] = {}
    choose = net.get_sparse_C

    def counted(node: Any, reference: Any) -> Any:
        result = choose(node, reference)
        rows[node.name] = node.lower.numel() if result[2] is None else int(result[3])
        return result

    net.get_sparse_C = counted
    return rows


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["patches", "matrix"])
@pytest.mark.parametrize("method", ["CROWN", "alpha-CROWN"])
def test_bounds_are_the_same(kind: str, mode: str, method: str) -> None:
    module, x = networks.grafted(kind), centre(kind)
    with_rows, without = bounded(module, x, conv_mode=mode), bounded(module, x, conv_mode=mode)
    skip_grafted_rows(without)
    assert torch.allclose(bounds(with_rows, x, method), bounds(without, x, method), atol=1e-5)
    for first, second in zip(with_rows.relus, without.relus, strict=True):
        ours, theirs = ((node.inputs[0].lower, node.inputs[0].upper) for node in (second, first))
        unstable = node_mask(first, *theirs)  # bounds of stable neurons are the loose reference ones, or not
        assert torch.equal(unstable, node_mask(second, *ours))
        assert all(torch.allclose(a[unstable], b[unstable], atol=1e-5) for a, b in zip(ours, theirs, strict=True))


def node_mask(node: Any, lower: Tensor, upper: Tensor) -> Tensor:
    """The neurons that are neither stable nor grafted."""
    return (lower < 0) & (upper > 0) & ~node.mask


@pytest.mark.parametrize("kind", KINDS)
def test_no_grafted_row_is_bounded_and_none_has_alpha(kind: str) -> None:
    module, x = networks.grafted(kind), centre(kind)
    net = bounded(module, x)
    skip_grafted_rows(net)
    rows = bounded_rows(net)
    bounds(net, x, "CROWN")
    assert rows
    for node in net.relus:
        live = int((~node.mask).sum())
        assert rows.get(node.inputs[0].name, 0) <= live
    bounds(net, x, "alpha-CROWN")
    masks = {node.inputs[0].name: node.mask for node in net.relus}
    tables = [(s, t) for node in net.relus for s, t in node.alpha_lookup_idx.items() if t is not None]
    assert tables
    for start, table in tables:
        where = table.nonzero(as_tuple=True)
        assert table.shape == masks[start].shape and not masks[start][where].any()


def test_rows_are_fewer_than_without() -> None:
    module, x = networks.grafted("residual"), centre("residual")
    counts = []
    for skip in (False, True):
        net = bounded(module, x)
        if skip:
            skip_grafted_rows(net)
        rows = bounded_rows(net)
        bounds(net, x, "CROWN")
        counts.append(sum(rows.values()))
    assert counts[1] < 0.7 * counts[0]


class TwoReaders(nn.Module):
    """A grafted activation and a ReLU of one tensor: the ReLU needs the bounds of every neuron."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 8)
        self.middle = nn.Linear(8, 8)
        self.left = GraftedReLU(torch.arange(8) < 4, 0.5)
        self.last = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        z = self.middle(self.first(x).relu())
        return self.last(self.left(z) + torch.relu(z))


def test_rows_that_another_activation_reads_are_kept() -> None:
    torch.manual_seed(0)
    module, x = TwoReaders(), centre("dense")
    nets = [bounded(module, x) for _ in range(2)]
    skip_grafted_rows(nets[1])
    assert torch.allclose(bounds(nets[0], x, "CROWN"), bounds(nets[1], x, "CROWN"), atol=1e-6)


def test_a_copy_skips_rows_of_its_own() -> None:
    module, x = networks.grafted("dense"), centre("dense")
    with torch.no_grad():  # otherwise a `BoundedModule` cannot be copied at all
        net = bounded(module, x)
    skip_grafted_rows(net)
    copied = copy.deepcopy(net)
    assert copied.get_sparse_C.__self__ is copied
    assert torch.allclose(bounds(copied, x, "CROWN"), bounds(net, x, "CROWN"), atol=1e-6)


def test_plain_networks_are_bounded_as_ever() -> None:
    torch.manual_seed(0)
    module, x = networks.plain("conv"), centre("conv")
    nets = [bounded(module, x) for _ in range(2)]
    skip_grafted_rows(nets[1])
    rows = [bounded_rows(net) for net in nets]
    assert torch.equal(bounds(nets[0], x, "CROWN"), bounds(nets[1], x, "CROWN"))
    assert rows[0] == rows[1]
