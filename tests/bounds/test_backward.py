"""CROWN's backward pass against the truth: exact minima of tiny networks by enumeration of activation patterns."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import random_points
from sample_networks import assembled, grafted, random_box
from scipy.optimize import linprog
from torch import Tensor

from abcrown_graft.bounds.backward import lower_bound, minimum_over_box
from abcrown_graft.bounds.propagate import bound_network, margin_lower_bounds
from abcrown_graft.bounds.windowed import bound_neurons
from abcrown_graft.bounds.windows import is_windowed
from abcrown_graft.geometry.box import Box
from abcrown_graft.network import operators as op
from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.graph import Network, Node
from abcrown_graft.network.trace import from_module

pytestmark = pytest.mark.usefixtures("one_thread")

Affine = tuple[np.ndarray, np.ndarray]


def pieces(network: Network, box: Box) -> Iterator[tuple[Affine, np.ndarray, np.ndarray]]:
    """Every activation pattern of a dense network: its affine function of the input, and where `a x <= b` it holds."""
    counts = [int((~network.grafted_mask(site)).sum()) for site in network.sites]
    for pattern in itertools.product((False, True), repeat=sum(counts)):
        choices = iter(pattern)
        weight, bias = np.eye(network.input.shape[0]), np.zeros(network.input.shape[0])
        conditions, limits = [np.zeros((0, len(bias)))], [np.zeros(0)]
        for node in network.nodes[1:]:
            if isinstance(node.operator, op.Linear):
                layer, shift = node.operator.weight.numpy(), node.operator.bias.numpy()
                weight, bias = layer @ weight, layer @ bias + shift
            elif isinstance(node.operator, op.Activation):
                weight, bias = weight.copy(), bias.copy()
                mask = network.grafted_mask(node.name)
                for k in range(len(bias)):
                    if mask[k]:
                        slope, intercept = float(node.operator.slope[k]), float(node.operator.intercept[k])
                        weight[k], bias[k] = slope * weight[k], slope * bias[k] + intercept
                        continue
                    active = next(choices)
                    conditions.append((-1 if active else 1) * weight[k : k + 1].copy())
                    limits.append((1 if active else -1) * bias[k : k + 1].copy())
                    weight[k], bias[k] = (weight[k], bias[k]) if active else (0 * weight[k], 0.0)
        yield (weight, bias), np.concatenate(conditions), np.concatenate(limits)


def true_minimum(network: Network, box: Box, row: Tensor) -> float:
    """The exact minimum of `row @ network(x)` over one box."""
    sides = np.stack([box.lower[0].numpy(), box.upper[0].numpy()], 1)
    best = np.inf
    for (weight, bias), conditions, limits in pieces(network, box):
        cost = row.numpy() @ weight
        found = linprog(cost, A_ub=conditions, b_ub=limits, bounds=sides)
        if found.status == 0:
            best = min(best, found.fun + float(row.numpy() @ bias))
    return best


@given(st.integers(0, 10**6), st.sampled_from([0, 0.5]), st.sampled_from([0.2, 1.0]))
@settings(max_examples=6)
def test_lower_bounds_do_not_exceed_the_true_minimum(seed: int, fraction: float, radius: float):
    torch.manual_seed(seed)
    module = tiny_dense()
    network = from_module(grafted(module, (2,), fraction) if fraction else module, (2,))
    box = random_box((2,), 1, radius)
    bounds = bound_network(network, box)
    row = torch.randn(2, dtype=torch.float64)
    truth = true_minimum(network, box, row)
    sampled = (evaluate(network, random_points(box)[0]) @ row).min().item()
    assert truth <= sampled + 1e-7  # the oracle itself
    for method in ("interval", "crown"):
        assert margin_lower_bounds(bounds, row.view(1, 1, -1), method).item() <= truth + 1e-7


def tiny_dense() -> torch.nn.Module:
    """2-3-3-2: 64 activation patterns."""
    layers = [torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)]
    return torch.nn.Sequential(*layers).double()


def test_one_hidden_layer_reaches_the_minimum_of_its_relaxation():
    # relu(z) on [-1, 3]: minimum of -relu(z) over the chord (z + 1) * 3/4 is exact at z = 3.
    network = chain(op.ReLU())
    box = Box(-torch.ones(1, 1), 3 * torch.ones(1, 1))
    lines = {"act": op.ReLU().relax(box)}
    assert lower_bound(network, "act", torch.tensor([[[1.0], [-1.0]]]), lines, box).tolist() == [[-1.0, -3.0]]


def chain(activation: op.Activation) -> Network:
    return Network((Node("input", op.Input(), (), (1,)), Node("act", activation, ("input",), (1,))))


def test_rows_of_the_input_itself_are_bounded_by_the_box():
    box = Box(torch.tensor([[-1.0]]), torch.tensor([[3.0]]))
    assert lower_bound(chain(op.ReLU()), "input", torch.tensor([[[2.0], [-2.0]]]), {}, box).tolist() == [[-2, -6]]


def test_positive_coefficients_meet_the_lower_side_and_negative_ones_the_upper():
    box = Box(torch.tensor([[1.0, 10.0]]), torch.tensor([[2.0, 20.0]]))
    assert minimum_over_box(torch.tensor([[[3.0, -1.0], [-1.0, 0.5]]]), box).tolist() == [[-17.0, 3.0]]


def test_a_node_read_twice_collects_both_contributions():
    nodes = (*chain(op.ReLU()).nodes, Node("sum", op.Add(), ("act", "act"), (1,)))
    box = Box(torch.tensor([[1.0]]), torch.tensor([[3.0]]))
    lines = {"act": op.ReLU().relax(box)}
    assert lower_bound(Network(nodes), "sum", torch.ones(1, 1, 1), lines, box).item() == 2


def test_intermediate_bounds_of_convolutions_hold_each_neuron_in_either_form():
    """The pass on windows and the pass on whole maps are the same mathematics."""
    torch.manual_seed(3)
    shape = (2, 6, 6)
    blocks = ["strided", "downsampling residual", "branches", "pool", "zero pad", "grouped"]
    network = from_module(assembled(blocks, shape), shape)
    box = random_box(shape, 2, 0.3)
    bounds = bound_network(network, box)
    for node in network.activations:
        name = node.inputs[0]
        assert is_windowed(network, name)
        neurons = torch.arange(torch.Size(node.shape).numel())
        image = torch.tensor([0, 1]).repeat_interleave(len(neurons))
        unit = torch.eye(len(neurons), dtype=torch.float64).view(-1, *node.shape).expand(2, -1, *node.shape)
        for side in (1.0, -1.0):
            sign = torch.full((len(image),), side, dtype=torch.float64)
            found = bound_neurons(network, name, image, neurons.repeat(2), sign, bounds.relaxations, box)
            plain = lower_bound(network, name, side * unit, bounds.relaxations, box)
            torch.testing.assert_close(found.view(2, -1), plain)
