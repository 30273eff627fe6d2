"""The grafted activation in the real auto_LiRPA: its bounds hold and are tight, and no wrong rule is inherited."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import grafted_networks as networks
import pytest
import torch
import upstream
from oracles import random_points
from torch import Tensor, nn

from abcrown_graft.bounds.propagate import bound_network, margin_lower_bounds
from abcrown_graft.errors import MaskError, ModelError, UnsupportedError
from abcrown_graft.geometry.box import Box
from abcrown_graft.network.trace import from_module
from abcrown_graft.nn.activation import GraftedReLU

lirpa = upstream.imported("auto_LiRPA")
operator = upstream.imported("abcrown_graft.engines.abcrown.operator")
as_abcrown_network = upstream.imported("abcrown_graft.engines.abcrown.network").as_abcrown_network

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("one_thread")]

KINDS = ("conv", "residual", "dense")
SPARSE = dict.fromkeys(
    (
        "sparse_intermediate_bounds",
        "sparse_conv_intermediate_bounds",
        "sparse_features_alpha",
        "sparse_spec_alpha",
        "use_full_conv_alpha",
    ),
    True,
)
RADIUS = 0.1


def bounded(module: nn.Module, x: Tensor, **options: Any) -> Any:
    """auto_LiRPA's module of a network, α optimised for a few steps."""
    steps = {"iteration": 8, **options.pop("optimize_bound_args", {})}
    return lirpa.BoundedModule(
        module, torch.zeros_like(x[:1]), bound_opts={**SPARSE, "optimize_bound_args": steps, **options}
    )


def bounds(net: Any, x: Tensor, method: str, **options: Any) -> Box:
    """Of the output on the ball around x."""
    ball = lirpa.PerturbationLpNorm(x_L=x - RADIUS, x_U=x + RADIUS)
    lower, upper = net.compute_bounds(x=(lirpa.BoundedTensor(x, ball),), method=method, **options)
    return Box(lower.detach(), upper.detach())


def centre(kind: str, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return torch.rand(1, *networks.input_shape(kind))


def grafted_nodes(net: Any) -> list[Any]:
    return [node for node in net.relus if isinstance(node, operator.BoundGraftedRelu)]


def assert_holds(module: nn.Module, x: Tensor, found: Box, tolerance: float = 1e-4) -> None:
    """Outputs at random points of the ball lie between the bounds."""
    points = random_points(Box(x - RADIUS, x + RADIUS), 4000)[0].to(x.dtype)
    with torch.no_grad():
        outputs = module(points)
    assert (outputs >= found.lower - tolerance).all() and (outputs <= found.upper + tolerance).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["patches", "matrix"])
@pytest.mark.parametrize("relaxation", ["adaptive", "same-slope"])
def test_bounds_hold(kind: str, mode: str, relaxation: str) -> None:
    module, x = networks.grafted(kind, seed=1), centre(kind, seed=1)
    net = bounded(as_abcrown_network(module), x, conv_mode=mode, activation_bound_option=relaxation)
    assert torch.allclose(net(x), module(x), atol=1e-5)
    for method in ("IBP", "CROWN-IBP", "CROWN", "alpha-CROWN"):
        assert_holds(module, x, bounds(net, x, method))


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_are_those_of_the_native_engine(kind: str) -> None:
    module, x = networks.grafted(kind), centre(kind)
    network = from_module(module, networks.input_shape(kind))
    net = bounded(as_abcrown_network(module), x)
    for ours, theirs in (("interval", "IBP"), ("crown", "CROWN")):
        native = bound_network(network, Box(x - RADIUS, x + RADIUS), ours)
        rows = torch.eye(3)[None]
        found = bounds(net, x, theirs)
        assert torch.allclose(found.lower, margin_lower_bounds(native, rows, ours), atol=2e-4), theirs
        assert torch.allclose(found.upper, -margin_lower_bounds(native, -rows, ours), atol=2e-4), theirs


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_are_those_of_standard_operators(kind: str) -> None:
    module, x = networks.grafted(kind), centre(kind)
    options = {"conv_mode": "matrix", "sparse_intermediate_bounds": False}
    ours = bounds(bounded(as_abcrown_network(module), x, **options), x, "CROWN")
    standard = bounds(bounded(networks.decomposed(module), x, **options), x, "CROWN")
    assert torch.allclose(ours.lower, standard.lower, atol=1e-4)
    assert torch.allclose(ours.upper, standard.upper, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_optimising_tightens_and_a_linear_network_is_exact(kind: str) -> None:
    x = centre(kind)
    net = bounded(as_abcrown_network(networks.grafted(kind)), x)
    assert (bounds(net, x, "alpha-CROWN").lower >= bounds(net, x, "CROWN").lower - 1e-5).all()
    linear = networks.grafted(kind, fraction=1.0)
    jacobian = torch.autograd.functional.jacobian(lambda v: linear(v)[0], x).flatten(1)
    exact = linear(x) - RADIUS * jacobian.abs().sum(1)
    net = bounded(as_abcrown_network(linear), x)
    for method in ("CROWN", "alpha-CROWN"):
        assert torch.allclose(bounds(net, x, method).lower, exact, atol=1e-4), method


@pytest.fixture
def double() -> Iterator[None]:
    """What `general.double_fp` does."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_double_precision(double: None) -> None:
    module, x = networks.grafted("conv"), centre("conv")
    net = bounded(as_abcrown_network(module), x)
    for method in ("IBP", "CROWN", "alpha-CROWN"):
        found = bounds(net, x, method)
        assert found.lower.dtype == torch.float64
        assert_holds(module, x, found, 1e-9)


@pytest.mark.parametrize("options", [{"sparse_features_alpha": False}, {"sparse_spec_alpha": False}])
@pytest.mark.parametrize("share", [False, True])
def test_every_kind_of_alpha(options: Mapping[str, bool], share: bool) -> None:
    module, x = networks.grafted("conv"), centre("conv")
    net = bounded(as_abcrown_network(module), x, optimize_bound_args={"use_shared_alpha": share}, **options)
    assert_holds(module, x, bounds(net, x, "alpha-CROWN"))


def test_values_and_gradients_are_those_of_the_network() -> None:
    module = networks.grafted("residual")
    network = as_abcrown_network(module)
    x = torch.randn(7, *networks.CONV_SHAPE)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    a, b = module(ours), network(theirs)
    assert torch.equal(a, b)
    a.square().sum().backward()
    b.square().sum().backward()
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-5)


def test_the_network_is_a_copy_that_knows_its_sites() -> None:
    module = networks.grafted("residual")
    before = copy.deepcopy(module.state_dict())
    network = as_abcrown_network(module)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not any(isinstance(m, operator.OneInputGraftedReLU) for m in module.modules())
    assert from_module(network, networks.CONV_SHAPE).sites == from_module(module, networks.CONV_SHAPE).sites
    grafts = ("mask", "slope", "intercept")
    assert set(network.state_dict()) == {name for name in before if name.rpartition(".")[2] not in grafts}


def test_grafted_neurons_are_never_unstable() -> None:
    module, x = networks.grafted("conv"), centre("conv")
    net = bounded(as_abcrown_network(module), x)
    bounds(net, x, "alpha-CROWN")
    for node in grafted_nodes(net):
        lower, upper = torch.full_like(node.inputs[0].lower, -1), torch.full_like(node.inputs[0].upper, 1)
        kept = ~node.mask[None]
        assert torch.equal(node.get_split_mask(lower, upper, 0), kept)
        assert torch.equal(node.get_unstable_mask(lower, upper), kept)
        assert torch.equal(node.compute_bound_improvement_heuristics(lower, upper) > 0, kept)
        assert node.alpha_indices is not None and not node.mask[node.alpha_indices].any()


def test_a_network_without_live_neurons_keeps_its_grafted_part() -> None:
    """The base class says that nothing flows back through a layer whose ReLUs are all off."""
    first = nn.Linear(2, 3)
    first.bias.data.fill_(-10)
    module = nn.Sequential(first, GraftedReLU(torch.tensor([True, True, False]), 2.0, 1.0), nn.Linear(3, 1))
    x = torch.rand(1, 2)
    net = bounded(as_abcrown_network(module), x)
    found = bounds(net, x, "alpha-CROWN")
    assert_holds(module, x, found)
    assert float((found.upper - found.lower).detach().max()) > 0
    assert not any(node.zero_backward_coeffs_l or node.zero_backward_coeffs_u for node in grafted_nodes(net))


class TwoReaders(nn.Module):
    """Two activations of one tensor, grafted differently."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 4)
        self.left = GraftedReLU(torch.tensor([True, True, False, False]), 3.0)
        self.right = GraftedReLU(torch.tensor([False, False, True, True]), -2.0)

    def forward(self, x: Tensor) -> Tensor:
        z = self.layer(x)
        return self.left(z) + self.right(z)


def test_activations_of_one_tensor_are_not_merged() -> None:
    module, x = TwoReaders(), torch.rand(1, 2)
    net = bounded(as_abcrown_network(module), x)
    assert torch.allclose(net(x), module(x), atol=1e-6)
    assert_holds(module, x, bounds(net, x, "CROWN"))


def test_weights_that_make_two_relus_one_are_left_alone() -> None:
    """auto_LiRPA replaces relu(relu(z) - relu(-z)) by relu(z); with grafts these are different functions."""
    first, second = nn.Linear(1, 2), nn.Linear(2, 1)
    first.weight.data, first.bias.data = torch.tensor([[1.0], [-1.0]]), torch.tensor([0.5, -0.5])
    second.weight.data, second.bias.data = torch.tensor([[1.0, -1.0]]), torch.zeros(1)
    last = nn.Linear(1, 1)
    x = torch.tensor([[0.3]])
    relus = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)
    assert len(bounded(as_abcrown_network(relus), x).relus) == 1  # what it does with ReLUs
    grafts = [GraftedReLU(torch.tensor([True, False]), 0.3, 0.2), GraftedReLU(torch.tensor([True]), 0.7, 0.1)]
    module = nn.Sequential(first, grafts[0], second, grafts[1], last)
    net = bounded(as_abcrown_network(module), x)
    assert torch.allclose(net(x), module(x), atol=1e-6)
    assert_holds(module, x, bounds(net, x, "CROWN"))


def test_one_activation_called_twice() -> None:
    shared = GraftedReLU(torch.tensor([True, False, True]), -0.5, 0.1)
    module, x = nn.Sequential(nn.Linear(2, 3), shared, nn.Linear(3, 3), shared, nn.Linear(3, 2)), torch.rand(1, 2)
    net = bounded(as_abcrown_network(module), x)
    assert len(grafted_nodes(net)) == 2
    assert_holds(module, x, bounds(net, x, "alpha-CROWN"))


def test_networks_of_one_process_do_not_meet() -> None:
    first, second, x = networks.grafted("dense", 1), networks.grafted("dense", 2), centre("dense")
    nets = [as_abcrown_network(first), as_abcrown_network(second)]
    bounding = [bounded(net, x) for net in nets]
    for module, net in zip((first, second), bounding, strict=True):
        assert torch.allclose(net(x), module(x), atol=1e-5)
    alone = bounding[1]
    del nets, bounding, first, module, net
    gc.collect()
    assert_holds(second, x, bounds(alone, x, "CROWN"))


def test_a_key_without_network_is_refused() -> None:
    with pytest.raises(ModelError, match="no longer exists"):
        operator.bound_operator({"key": "1#0", "device": "cpu"})


@pytest.mark.parametrize("method", ["forward", "dynamic-forward", "forward-optimized"])
def test_forward_bounds_are_refused(method: str) -> None:
    module, x = networks.grafted("dense"), centre("dense")
    options = {"forward_max_dim": 100} if method.startswith("dynamic") else {}
    net = bounded(as_abcrown_network(module), x, **options)
    with pytest.raises(UnsupportedError, match=r"site '1'.*not implemented"):
        bounds(net, x, method)


def test_jacobians_and_cuts_are_refused() -> None:
    module, x = networks.grafted("dense"), centre("dense")
    net = bounded(as_abcrown_network(module), x)
    node = grafted_nodes(net)[0]
    with pytest.raises(UnsupportedError, match="Jacobians"):
        node.build_gradient_node(x)
    node.cut_used = True
    with pytest.raises(UnsupportedError, match=r"bab\.cut"):
        bounds(net, x, "CROWN")


def test_bad_parameters_name_the_site() -> None:
    ones = torch.ones(3)
    with pytest.raises(MaskError, match=r"site 'act'.*0 and 1"):
        operator.OneInputGraftedReLU("act", torch.tensor([0.0, 1.0, 0.5]), ones, ones)
    with pytest.raises(MaskError, match="site 'act': slope of shape"):
        operator.OneInputGraftedReLU("act", torch.ones(3), torch.ones(2), ones)
    module = nn.Sequential(nn.Linear(2, 3), GraftedReLU(torch.tensor([True, False, True]), 0.5))
    module[1].intercept.data[1] = torch.nan
    with pytest.raises(MaskError, match="site '1': intercept has NaN"):
        as_abcrown_network(module)


def test_masks_of_numbers_are_masks() -> None:
    made = operator.OneInputGraftedReLU("act", torch.tensor([0.0, 1.0]), 2 * torch.ones(2), torch.zeros(2))
    assert made(torch.tensor([[-1.0, -1.0]])).tolist() == [[0.0, -2.0]]


def test_a_kind_of_program_that_is_not_known() -> None:
    encoding = upstream.imported("abcrown_graft.engines.abcrown.encoding")
    with pytest.raises(UnsupportedError, match="formulation"):
        encoding.encode_activation(SimpleNamespace(), [], None, "quadratic")
