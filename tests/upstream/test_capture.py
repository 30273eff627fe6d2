"""Unstable neurons that α,β-CROWN finds, by the names of our sites."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grafted_networks as networks
import pytest
import torch
import upstream
from torch import Tensor, nn

from abcrown_graft.bounds.propagate import bound_network
from abcrown_graft.errors import ConfigError, ModelError
from abcrown_graft.geometry.box import Box
from abcrown_graft.network.trace import from_module
from abcrown_graft.nn.surgery import graft

capture = upstream.imported("abcrown_graft.engines.abcrown.capture")
as_abcrown_network = upstream.imported("abcrown_graft.engines.abcrown.network").as_abcrown_network
arguments = upstream.imported("arguments")
lirpa = upstream.imported("auto_LiRPA")
solver = upstream.imported("beta_CROWN_solver")
utils = upstream.imported("auto_LiRPA.utils")

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("one_thread")]

KINDS = ("conv", "residual", "dense")
RADIUS = 0.1


@pytest.fixture(autouse=True)
def configuration(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """α,β-CROWN's defaults on the CPU, with a short optimisation; afterwards nothing watches."""
    arguments.Config.parse_config(["--device", "cpu", "--init_iteration", "10"])
    monkeypatch.setattr(solver.LiRPANet, "build", solver.LiRPANet.build)
    yield


def box(kind: str) -> Box:
    torch.manual_seed(0)
    x = torch.rand(1, *networks.input_shape(kind))
    return Box(x - RADIUS, x + RADIUS)


def native(module: nn.Module, kind: str) -> dict[str, Tensor]:
    """What our own engine finds."""
    network = from_module(module, networks.input_shape(kind))
    found = bound_network(network, box(kind))
    return {site: found.unstable(site)[0] for site in network.sites}


def build(module: nn.Module, kind: str) -> Any:
    """What α,β-CROWN does with an instance in its incomplete stage."""
    net = solver.LiRPANet(module, in_size=[1, *networks.input_shape(kind)])
    ball = box(kind)
    x = lirpa.BoundedTensor((ball.lower + ball.upper) / 2, lirpa.PerturbationLpNorm(x_L=ball.lower, x_U=ball.upper))
    rows = torch.tensor([[[1.0, -1, 0], [1, 0, -1]]])
    size = torch.ones(2, dtype=torch.int64)
    return net.build(x, rows, torch.full((1, 2), 1e3), utils.stop_criterion_all, or_spec_size=size)


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for site in expected:
        assert torch.equal(found[site], expected[site]), site


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fraction", [0.0, 0.5])
def test_crown_agrees_with_the_native_engine(kind: str, fraction: float) -> None:
    module = networks.grafted(kind, fraction=fraction)
    expected = native(module, kind)
    assert any(flags.any() for flags in expected.values())
    ball = box(kind)
    assert_same(capture.bounds_of(as_abcrown_network(module), ball.lower, ball.upper, "crown"), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_watching_crown_and_alpha_crown(kind: str) -> None:
    module = networks.grafted(kind)
    network, seen = as_abcrown_network(module), []
    capture.watch_bounds(seen.append, "crown")
    build(network, kind)
    assert_same(seen.pop(), native(module, kind))
    capture.watch_bounds(seen.append, "alpha-crown")
    build(network, kind)
    crown, tighter = sorted(seen, key=lambda flags: -sum(int(f.sum()) for f in flags.values()))
    assert all(bool((crown[site] | ~tighter[site]).all()) for site in crown)


def test_bounds_of_one_box_are_not_reported() -> None:
    network, seen, ball = as_abcrown_network(networks.grafted("dense")), [], box("dense")
    capture.watch_bounds(seen.append)
    found = capture.bounds_of(network, ball.lower, ball.upper, "alpha-crown")
    assert seen == [] and all(flags.dtype == torch.bool for flags in found.values())


class Branches(nn.Module):
    """The left branch is defined first and run last: graph orders differ."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.last = nn.Linear(5, 6), nn.Linear(5, 6), nn.Linear(6, 3)
        self.left_act, self.right_act = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        right = self.right_act(self.right(x))
        return self.last(right + self.left_act(self.left(x)))


def test_sites_are_found_by_what_they_compute() -> None:
    torch.manual_seed(0)
    module = Branches()
    net = lirpa.BoundedModule(module, torch.zeros(1, 5))
    nodes = capture.activation_nodes(net, module)
    x = torch.rand(1, 5)
    net(x)
    assert torch.allclose(nodes["left_act"].inputs[0].forward_value, module.left(x), atol=1e-6)
    assert torch.allclose(nodes["right_act"].inputs[0].forward_value, module.right(x), atol=1e-6)


class Twice(nn.Module):
    """Two sites read the same pre-activations."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 6), nn.Linear(12, 3)
        self.a, self.b, self.c = nn.ReLU(), nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        z = self.first(x)
        return self.last(torch.cat([self.a(z) + self.c(z), self.b(z)], 1))


def test_sites_that_read_the_same_node_keep_their_own() -> None:
    torch.manual_seed(0)
    module = graft(Twice(), {"a": torch.arange(6) < 2, "b": torch.arange(6) > 3})
    network = as_abcrown_network(module)
    nodes = capture.activation_nodes(lirpa.BoundedModule(network, torch.zeros(1, 5)), network)
    assert [getattr(nodes[site], "site", None) for site in "abc"] == ["a", "b", None]


def test_another_network_is_refused() -> None:
    torch.manual_seed(0)
    net = lirpa.BoundedModule(networks.plain("dense"), torch.zeros(1, 5))
    with pytest.raises(ModelError, match="networks differ"):
        capture.activation_nodes(net, networks.plain("dense"))


def test_missing_bounds_and_unknown_methods_are_refused() -> None:
    module = networks.grafted("dense")
    network = as_abcrown_network(module)
    nodes = capture.activation_nodes(lirpa.BoundedModule(network, torch.zeros(1, 5)), network)
    with pytest.raises(ModelError, match="holds no bounds"):
        capture.unstable_neurons(nodes)
    with pytest.raises(ConfigError, match=r"instability\.method: 'interval'"):
        capture.watch_bounds(print, "interval")
