"""Rigorous bounds against exact rational arithmetic, with weights chosen to cancel."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import assert_sound, pushing_points, random_points, random_rows
from sample_networks import IMAGE_BLOCKS, Sample, assembled, grafted, random_box, samples
from torch import Tensor, nn

from abcrown_graft.bounds.propagate import bound_network, margin_lower_bounds
from abcrown_graft.geometry.box import Box
from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network, Node
from abcrown_graft.network.trace import from_module

pytestmark = pytest.mark.usefixtures("one_thread")

exactly = np.vectorize(Fraction, otypes=[object])


def rational(tensor: Tensor) -> np.ndarray:
    """The exact values of a tensor as fractions."""
    return exactly(tensor.detach().double().numpy())


def exact_lower_bound(network: Network, pre_activation: Mapping[str, Box], row: Tensor, box: Box) -> Fraction:
    """CROWN's backward pass over a dense network and the first box of a batch, without any rounding."""
    coefficients, constant = rational(row), Fraction(0)
    for node in reversed(network.nodes[1:]):
        if isinstance(node.operator, op.Linear):
            constant += coefficients @ rational(node.operator.bias)
            coefficients = coefficients @ rational(node.operator.weight)
        elif isinstance(node.operator, op.Activation):
            z = pre_activation[node.name]
            for k, (a, lower, upper) in enumerate(
                zip(coefficients, rational(z.lower[0]), rational(z.upper[0]), strict=True)
            ):
                slope, intercept = exact_line(node.operator, k, a, lower, upper)
                constant += a * intercept
                coefficients[k] = a * slope
    lower, upper = rational(box.lower[0]), rational(box.upper[0])
    return constant + sum(a * (low if a > 0 else up) for a, low, up in zip(coefficients, lower, upper, strict=True))


def exact_line(operator: op.Activation, k: int, a: Fraction, lower: Fraction, upper: Fraction) -> tuple[Fraction, ...]:
    """Slope and intercept of the line that a coefficient `a` meets at neuron `k`."""
    if isinstance(operator, op.GraftedReLU) and operator.mask[k]:
        return Fraction(operator.slope[k].item()), Fraction(operator.intercept[k].item())
    if lower >= 0 or upper <= 0:
        return Fraction(int(lower >= 0)), Fraction(0)
    if a > 0:
        return Fraction(int(upper > -lower)), Fraction(0)
    chord = upper / (upper - lower)
    return chord, -chord * lower


def cancelling(seed: int, size: float, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Layers whose large weights cancel: every other column is the negative of the one before, nearly."""
    torch.manual_seed(seed)
    layers = [nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)]
    module = nn.Sequential(*layers).double()
    with torch.no_grad():
        for layer in (layers[0], layers[2]):
            layer.weight.mul_(size)
            layer.weight[:, 1::2] = -layer.weight[:, ::2] * (1 + 1e-9)
    return module.to(dtype)


def nearly_equal_inputs(size: float) -> Box:
    """Boxes in which neighbouring inputs agree but for the tenth digit: what cancels is all there is."""
    base = torch.rand(1, 2, dtype=torch.float64).repeat_interleave(2, dim=1)
    return Box(base, base + 1 / size)


@given(st.integers(0, 10**6), st.sampled_from([1.0, 1e4, 1e10]), st.sampled_from([0, 0.4]))
@settings(max_examples=30)
def test_the_error_bound_covers_the_distance_to_exact_arithmetic(seed: int, size: float, fraction: float):
    module = cancelling(seed, size)
    network = from_module(grafted(module, (4,), fraction) if fraction else module, (4,))
    box = nearly_equal_inputs(size)
    bounds = bound_network(network, box, rigorous=True)
    rows = random_rows(bounds, count=2)
    found = margin_lower_bounds(bounds, rows)[0]
    error = (rows.abs() @ bounds.error.unsqueeze(2)).squeeze(2)[0]
    for row, value, allowed in zip(rows[0], found + error, error, strict=True):
        exact = exact_lower_bound(network, bounds.pre_activation, row, box)
        assert abs(Fraction(value.item()) - exact) <= Fraction(allowed.item())


@given(st.integers(0, 10**6), st.sampled_from([1e4, 1e8]))
@settings(max_examples=20)
def test_first_layer_bounds_hold_in_exact_arithmetic(seed: int, size: float):
    network = from_module(cancelling(seed, size), (4,))
    box = nearly_equal_inputs(size)
    bounds = bound_network(network, box, rigorous=True)
    site = next(iter(bounds.pre_activation))
    weight, bias = (rational(t) for t in (network.nodes[1].operator.weight, network.nodes[1].operator.bias))
    low, up = rational(box.lower[0]), rational(box.upper[0])
    for k, (lower, upper) in enumerate(
        zip(rational(bounds.pre_activation[site].lower[0]), rational(bounds.pre_activation[site].upper[0]), strict=True)
    ):
        least = bias[k] + sum(w * (a if w > 0 else b) for w, a, b in zip(weight[k], low, up, strict=True))
        most = bias[k] + sum(w * (b if w > 0 else a) for w, a, b in zip(weight[k], low, up, strict=True))
        assert lower <= least and most <= upper


@given(samples())
@settings(max_examples=30)
def test_rigorous_float32_bounds_hold_in_float64_without_tolerance(sample: Sample):
    bounds = bound_network(sample.network.to(dtype=torch.float32), sample.box.to(dtype=torch.float32), rigorous=True)
    inside = bounds.box.to(dtype=torch.float64)
    assert_sound(bounds, random_points(inside, 300))
    assert_sound(bounds, pushing_points(bounds.network, inside))


@pytest.mark.parametrize("block", list(IMAGE_BLOCKS))
def test_rigorous_float32_bounds_of_every_block_hold_on_boxes_of_one_point(block: str):
    """Where nothing but rounding is between the bounds and the value."""
    torch.manual_seed(1)
    shape = (2, 5, 5)
    network = from_module(grafted(assembled([block, "conv"], shape), shape, 0.3), shape).to(dtype=torch.float32)
    point = 100 * torch.randn(20, *shape)
    bounds = bound_network(network, Box(point, point), rigorous=True)
    assert_sound(bounds, point.double().unsqueeze(1))


def test_cancellation_breaks_ordinary_float32_bounds_but_not_rigorous_ones():
    """Without the error term these very bounds are wrong, so the tests above can fail."""
    network = from_module(cancelling(0, 1e5, torch.float32), (4,))
    torch.manual_seed(0)
    point = torch.rand(50, 2).repeat_interleave(2, dim=1)
    box = Box(point, point)
    with pytest.raises(AssertionError, match="outside"):
        assert_sound(bound_network(network, box), point.double().unsqueeze(1))
    assert_sound(bound_network(network, box, rigorous=True), point.double().unsqueeze(1))


def test_rigorous_bounds_are_wider_and_their_cost_is_small_in_float64():
    shape = (2, 5, 5)
    torch.manual_seed(0)
    network, box = from_module(assembled(["conv", "residual"], shape), shape), random_box(shape, 2, 0.1)
    plain, rigorous = bound_network(network, box), bound_network(network, box, rigorous=True)
    rows = random_rows(plain)
    lost = margin_lower_bounds(plain, rows) - margin_lower_bounds(rigorous, rows)
    assert (lost > 0).all() and (lost < 1e-9).all()
    assert (plain.error == 0).all() and (rigorous.error > 0).all()
    for site in network.sites:
        wide, tight = rigorous.pre_activation[site], plain.pre_activation[site]
        assert (wide.lower < tight.lower).all() and (wide.upper > tight.upper).all()


def test_a_node_with_many_readers_collects_a_rounding_from_each():
    """A thousand branches of one operator each, summed in a balanced tree: every path is short."""
    count, x = 1024, Node("input", op.Input(), (), (1,))
    scale = op.Scale(torch.tensor(0.7), torch.tensor(0.0))
    layer = [Node(f"branch {k}", scale, ("input",), (1,)) for k in range(count)]
    nodes = [x, *layer]
    while len(layer) > 1:
        pairs = zip(layer[::2], layer[1::2], strict=True)
        layer = [Node(f"{a.name} + {b.name}", op.Add(), (a.name, b.name), (1,)) for a, b in pairs]
        nodes += layer
    point = torch.ones(1, 1)
    error = bound_network(Network(tuple(nodes)), Box(point, point), rigorous=True).error.item()
    assert error > count * (torch.finfo(torch.float32).eps / 2) * (count * 0.7)


def chain(*layers: tuple[float, float]) -> tuple[Network, Box]:
    """One neuron after another, each `(weight, bias)`, with ReLUs between them, for x in [7, 9]."""
    modules: list[nn.Module] = []
    for weight, bias in layers:
        linear = nn.Linear(1, 1).double()
        linear.weight.data.fill_(weight)
        linear.bias.data.fill_(bias)
        modules += [linear, nn.ReLU()]
    box = Box(torch.full((1, 1), 7.0, dtype=torch.float64), torch.full((1, 1), 9.0, dtype=torch.float64))
    return from_module(nn.Sequential(*modules[:-1]), (1,)), box


def test_what_underflows_on_the_way_is_magnified_by_later_weights():
    """1 - 1e-200 * 1e-200 * 1e200 * 1e200 * x: the product of the first two weights is zero in float64."""
    network, box = chain((1e-200, 0.0), (1e-200, 0.0), (1e200, 0.0), (1e200, 0.0), (-1.0, 1.0))
    bounds = bound_network(network, box, "crown", rigorous=True)
    rows = torch.ones(1, 1, 1, dtype=torch.float64)
    assert not bool(margin_lower_bounds(bounds, rows) > -8)
    assert not bool(margin_lower_bounds(bounds, rows, "interval") > -8)


def test_what_underflows_going_backward_is_magnified_by_earlier_weights():
    """1e-40 - 1e-165 * 1e-165 * 1e140 * 1e150 * x: the backward pass meets the small weights first and loses them."""
    network, box = chain((1e150, 0.0), (1e140, 0.0), (1e-165, 0.0), (1e-165, 0.0), (-1.0, 1e-40))
    rows = torch.ones(1, 1, 1, dtype=torch.float64)
    assert margin_lower_bounds(bound_network(network, box), rows).item() > 0, "lost without a trace"
    assert margin_lower_bounds(bound_network(network, box, rigorous=True), rows).item() < -8e-40
