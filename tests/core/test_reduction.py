"""The core is the network, exactly, wherever its box reaches."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import random_rows
from sample_cores import KINDS, flat_points, instance
from sample_networks import FLAT_BLOCKS, IMAGE_BLOCKS, Sample, assembled, grafted, random_box, samples
from torch import nn

from abcrown_graft.bounds.propagate import NetworkBounds, bound_network
from abcrown_graft.bounds.windows import is_windowed
from abcrown_graft.core import reduction
from abcrown_graft.core.core import Core, evaluate_core
from abcrown_graft.core.reduction import reduce_to_core
from abcrown_graft.geometry.box import Box
from abcrown_graft.network.forward import node_values
from abcrown_graft.network.graph import Network
from abcrown_graft.network.trace import from_module
from abcrown_graft.nn.surgery import graft

pytestmark = pytest.mark.usefixtures("one_thread")


def assert_same(network: Network, bounds: NetworkBounds, core: Core, rows: torch.Tensor) -> None:
    """Margins and unstable pre-activations of the core are the network's, and its bounds and neurons the bounds'."""
    points = flat_points(bounds.box, 60)
    with torch.no_grad():
        values = node_values(network, points.T.reshape(-1, *network.input.shape))
    output, inputs = values[network.output.name], {node.name: values[node.inputs[0]] for node in network.activations}
    margins, pre_activation = evaluate_core(core, points)
    torch.testing.assert_close(margins, rows @ output.T, rtol=1e-9, atol=1e-9)
    unstable = {site: bounds.unstable(site).flatten().nonzero().flatten() for site in inputs}
    assert [layer.site for layer in core.layers] == [site for site, neurons in unstable.items() if len(neurons)]
    for layer, z in zip(core.layers, pre_activation, strict=True):
        assert torch.equal(layer.neurons, unstable[layer.site])
        assert (layer.lower < 0).all() and (layer.upper > 0).all()
        torch.testing.assert_close(z, inputs[layer.site].flatten(1)[:, layer.neurons].T, rtol=1e-9, atol=1e-9)
        box = bounds.pre_activation[layer.site]
        assert torch.equal(layer.lower, box.lower.flatten()[layer.neurons])
        assert torch.equal(layer.upper, box.upper.flatten()[layer.neurons])


def reduced(network: Network, box: Box, rigorous: bool = False) -> tuple[NetworkBounds, Core, torch.Tensor]:
    bounds = bound_network(network, box, rigorous=rigorous)
    rows = random_rows(bounds)[0]
    return bounds, reduce_to_core(bounds, rows), rows


@given(samples(batch=1), st.booleans())
@settings(max_examples=60)
def test_a_core_is_the_network_on_its_box(sample: Sample, rigorous: bool):
    bounds, core, rows = reduced(sample.network, sample.box, rigorous)
    assert_same(sample.network, bounds, core, rows)


@pytest.mark.parametrize("block", [*IMAGE_BLOCKS, *FLAT_BLOCKS])
@pytest.mark.parametrize("fraction", [0, 0.5, 1])
def test_every_block(block, fraction):
    torch.manual_seed(3)
    shape, last = ((2, 5, 5), "conv") if block in IMAGE_BLOCKS else ((4,), "linear")
    module = assembled([block, last], shape)
    network = from_module(grafted(module, shape, fraction) if fraction else module, shape)
    bounds, core, rows = reduced(network, random_box(shape, 1, 1.0))
    assert_same(network, bounds, core, rows)
    if fraction == 1:
        leaky = [node for node in network.activations if type(node.operator).__name__ == "LeakyReLU"]
        assert core.layers == () or leaky, "a grafted neuron is no part of the core"
    if fraction == 0:
        assert sum(core.sizes) > 0


@pytest.mark.parametrize("windows", [True, False])
@given(sample=samples(batch=1))
@settings(max_examples=25)
def test_every_way_of_sweeping_agrees(windows: bool, sample: Sample):
    """Windows or live neurons, against whole rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reduction, "prefers_windows", is_windowed if windows else lambda *_: False)
        bounds, swept, rows = reduced(sample.network, sample.box)
        patch.setattr(reduction, "prefers_windows", lambda *_: False)
        patch.setattr(reduction, "fits", lambda *_: False)
        whole = reduce_to_core(bounds, rows)
    for first, second in zip(swept.layers, whole.layers, strict=True):
        torch.testing.assert_close(first.from_input.dense(), second.from_input.dense(), rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(first.constant, second.constant, rtol=1e-11, atol=1e-12)
        for j in {*first.from_layers, *second.from_layers}:
            a, b = (layer.from_layers[j].dense() for layer in (first, second))
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


def test_neurons_are_swept_in_chunks(monkeypatch):
    found = instance("dense", 0)
    monkeypatch.setattr(reduction, "ROWS_PER_SWEEP", 1)
    core = reduce_to_core(found.bounds, found.rows)
    assert core.sizes == found.core.sizes and max(core.sizes) > 1
    for one, all_ in zip(core.layers, found.core.layers, strict=True):
        assert torch.equal(one.from_input.dense(), all_.from_input.dense())
        assert torch.equal(one.constant, all_.constant)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_of_stable_neurons_has_no_layers(kind):
    found = instance(kind, 2)
    point = Box(found.box.lower, found.box.lower)
    core = reduce_to_core(bound_network(found.network, point), found.rows)
    assert core.layers == () and core.sizes == [] and core.nonzeros == 0
    assert_same(found.network, bound_network(found.network, point), core, found.rows)


def test_no_margins():
    found = instance("residual", 2)
    core = reduce_to_core(found.bounds, found.rows[:0])
    assert core.out_input.dense().shape == (0, 4) and core.sizes == found.core.sizes


def test_layers_that_do_not_meet_share_no_block():
    """relu(x₀) and relu(x₁) on two ways: neither is a function of the other."""

    class Ways(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 1), nn.Linear(2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([self.a(x).relu(), self.b(x).relu()], dim=1)

    torch.manual_seed(0)
    network = from_module(Ways().double().requires_grad_(False), (2,))
    _, core, _ = reduced(network, Box(torch.full((1, 2), -9.0).double(), torch.full((1, 2), 9.0).double()))
    assert core.sizes == [1, 1] and [dict(layer.from_layers) for layer in core.layers] == [{}, {}]


def test_rigorous_bounds_give_every_row_its_error():
    found = instance("dense", 3)
    plain = reduce_to_core(bound_network(found.network, found.box), found.rows)
    assert all((layer.error > 0).all() and (layer.error < 1e-9).all() for layer in found.core.layers)
    assert (found.core.out_error > 0).all() and (found.core.out_error < 1e-9).all()
    assert all((layer.error == 0).all() for layer in plain.layers) and (plain.out_error == 0).all()
    twice = reduce_to_core(found.bounds, 2 * found.rows)
    torch.testing.assert_close(twice.out_error, 2 * found.core.out_error)


def test_offsets_are_added_to_the_literals_and_their_rounding_to_the_errors():
    found = instance("dense", 0)
    offsets = torch.tensor([0.1, -1e6], dtype=torch.float64)
    core, points = reduce_to_core(found.bounds, found.rows, offsets), flat_points(found.box, 100)
    plain, shifted = evaluate_core(found.core, points)[0], evaluate_core(core, points)[0]
    torch.testing.assert_close(shifted, plain + offsets.unsqueeze(1))
    assert (core.out_error >= found.core.out_error).all()
    assert core.out_error[1] > found.core.out_error[1] + 1e6 * torch.finfo(torch.float64).eps / 2


@pytest.mark.parametrize("way", ["windows", "live neurons", "whole maps"])
@pytest.mark.parametrize("fraction", [0, 0.5])
@pytest.mark.parametrize("block", ["conv", "dilated", "residual", "strided"])
def test_every_block_is_swept_exactly_in_every_way(monkeypatch, way, fraction, block):
    """Leaky and grafted neurons among the layers that are passed."""
    monkeypatch.setattr(reduction, "prefers_windows", is_windowed if way == "windows" else lambda *_: False)
    if way == "whole maps":
        monkeypatch.setattr(reduction, "fits", lambda *_: False)
    torch.manual_seed(5)
    shape = (2, 5, 5)
    module = assembled([block, "dilated", "conv"], shape)
    network = from_module(grafted(module, shape, fraction) if fraction else module, shape)
    bounds, core, rows = reduced(network, random_box(shape, 1, 1.0))
    assert len(core.layers) > 1
    assert_same(network, bounds, core, rows)


@pytest.mark.parametrize("way", ["live neurons", "whole maps"])
def test_neurons_that_are_grafted_to_a_constant_count(monkeypatch, way):
    if way == "whole maps":
        monkeypatch.setattr(reduction, "fits", lambda *_: False)
    torch.manual_seed(6)
    module = assembled(["linear", "linear"], (4,))
    sites = from_module(module, (4,)).sites
    masks = {site: torch.arange(torch.Size(shape).numel()).view(shape) % 2 == 0 for site, shape in sites.items()}
    network = from_module(graft(module, masks, 0.0, 0.7), (4,))
    bounds, core, rows = reduced(network, random_box((4,), 1, 1.0))
    assert_same(network, bounds, core, rows)
