"""Bounds of whole networks: sound, tight where they must be, and the same in any batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import assume, given, settings
from oracles import affine_minimum, assert_sound, pushing_points, random_points, random_rows
from sample_networks import IMAGE_BLOCKS, Sample, assembled, grafted, model_names, random_box, samples
from torch import nn

from abcrown_graft.bounds.propagate import bound_network, margin_lower_bounds, margin_lower_lines
from abcrown_graft.geometry.box import Box
from abcrown_graft.models.build import build_model
from abcrown_graft.models.definitions import model_definition
from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.graph import Network
from abcrown_graft.network.trace import from_module

pytestmark = pytest.mark.usefixtures("one_thread")

ROUNDING = 1e-4
"""Relative slack for float32 bounds that do not account for their own rounding (unit roundoff 6e-8)."""

SMALLER = {
    "cnn_b": {"size": 8, "hidden": 20},
    "convbig_cifar": {"size": 8},
    "convhuge": {"size": 4},
    "resnet_2b": {"size": 8},
    "resnet_4b": {"size": 8},
    "cnn_a": {"size": 12, "hidden": 20},
}
SAME_AS = {"convbig_mnist": "convbig_cifar", "convbig_svhn": "convbig_cifar", "cnn_a_svhn": "cnn_a"}


def test_random_points_are_a_thousand_and_all_inside():
    box = random_box((2, 3), 4, 0.5)
    points = random_points(box)
    assert points.shape == (4, 1000, 2, 3)
    assert ((points >= box.lower.unsqueeze(1)) & (points <= box.upper.unsqueeze(1))).all()


@given(samples())
@settings(max_examples=40)
def test_rigorous_bounds_hold_at_every_point_without_tolerance(sample: Sample):
    bounds = bound_network(sample.network, sample.box, "crown", rigorous=True)
    assert_sound(bounds, random_points(sample.box))
    assert_sound(bounds, pushing_points(sample.network, sample.box))


@given(samples())
@settings(max_examples=20)
def test_float32_bounds_hold_up_to_their_rounding(sample: Sample):
    bounds = bound_network(sample.network.to(dtype=torch.float32), sample.box.to(dtype=torch.float32))
    inside = bounds.box.to(dtype=torch.float64)
    assert_sound(bounds, random_points(inside, 200), ROUNDING)
    assert_sound(bounds, pushing_points(bounds.network, inside), ROUNDING)


@given(samples())
@settings(max_examples=30)
def test_crown_bounds_lie_within_interval_bounds(sample: Sample):
    crown, interval = (bound_network(sample.network, sample.box, method) for method in ("crown", "interval"))
    for site, loose in interval.pre_activation.items():
        tight = crown.pre_activation[site]
        assert (tight.lower >= loose.lower - 1e-12).all() and (tight.upper <= loose.upper + 1e-12).all()
        assert (tight.lower <= tight.upper + 1e-12).all()
    assert (crown.output.lower >= interval.output.lower - 1e-12).all()


@given(samples())
@settings(max_examples=30)
def test_lines_lie_below_the_margins(sample: Sample):
    """`margin(x) >= lower + coefficients (x - p)` for the corner p where the line is smallest."""
    bounds = bound_network(sample.network, sample.box, rigorous=True)
    rows = random_rows(bounds)
    coefficients, lower = margin_lower_lines(bounds, rows)
    assert torch.equal(lower, margin_lower_bounds(bounds, rows))
    points = random_points(sample.box, 200)
    margins = evaluate(sample.network, points.flatten(0, 1)).unflatten(0, points.shape[:2]) @ rows.transpose(1, 2)
    ends = (sample.box.lower.unsqueeze(1), sample.box.upper.unsqueeze(1))
    corner = torch.where(coefficients > 0, *ends)
    away = (coefficients.unsqueeze(1) * (points.unsqueeze(2) - corner.unsqueeze(1))).flatten(3).sum(3)
    assert (margins >= lower.unsqueeze(1) + away - 1e-9 * (1 + margins.abs() + away)).all()


@given(samples(batch=3))
@settings(max_examples=30)
def test_bounds_of_an_image_do_not_depend_on_its_batch(sample: Sample):
    together = bound_network(sample.network, sample.box)
    rows = random_rows(together)
    margins = margin_lower_bounds(together, rows)
    for k in range(3):
        alone = bound_network(sample.network, sample.box[k : k + 1])
        torch.testing.assert_close(margin_lower_bounds(alone, rows[k : k + 1])[0], margins[k])
        for site, box in alone.pre_activation.items():
            torch.testing.assert_close(box.lower[0], together.pre_activation[site].lower[k])
            torch.testing.assert_close(box.upper[0], together.pre_activation[site].upper[k])


@pytest.mark.parametrize(("blocks", "shape"), [(["linear"] * 3, (4,)), (["conv"] * 3, (1, 4, 4))])
def test_neighbours_with_more_unstable_neurons_change_nothing(blocks: list[str], shape: tuple[int, ...]):
    torch.manual_seed(0)
    network = from_module(assembled(blocks, shape), shape)
    centre = torch.randn(1, *shape, dtype=torch.float64)
    boxes = [Box(centre - radius, centre + radius) for radius in (0.1, 2.0)]
    alone = bound_network(network, boxes[0])
    both = Box(torch.cat([b.lower for b in boxes]), torch.cat([b.upper for b in boxes]))
    together = bound_network(network, both)
    *_, last = network.sites
    counts = together.unstable(last).flatten(1).sum(1)
    assert counts[0] < counts[1]
    for site, box in alone.pre_activation.items():
        torch.testing.assert_close(together.pre_activation[site].lower[:1], box.lower)
        torch.testing.assert_close(together.pre_activation[site].upper[:1], box.upper)


@given(samples(fractions=(1,)))
@settings(max_examples=30)
def test_margins_are_exact_when_every_neuron_is_grafted(sample: Sample):
    assume(not any(isinstance(m, nn.LeakyReLU) for m in sample.module.modules()))
    bounds = bound_network(sample.network, sample.box)
    rows = random_rows(bounds)
    exact = affine_minimum(sample.network, sample.box, rows)
    torch.testing.assert_close(margin_lower_bounds(bounds, rows), exact, rtol=1e-9, atol=1e-9)
    assert not any(bounds.unstable(site).any() for site in sample.network.sites)


@given(samples(fractions=(0, 0.5)))
@settings(max_examples=30)
def test_margins_are_exact_when_every_neuron_is_stable(sample: Sample):
    shrunk = random_box(sample.network.input.shape, 2, 1e-9)
    bounds = bound_network(sample.network, shrunk)
    assume(not any(bounds.pre_activation[node.name].unstable().any() for node in sample.network.activations))
    rows = random_rows(bounds)
    exact = affine_minimum(sample.network, shrunk, rows)
    torch.testing.assert_close(margin_lower_bounds(bounds, rows), exact, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("block", list(IMAGE_BLOCKS))
@pytest.mark.parametrize("fraction", [0, 0.5, 1])
def test_every_kind_of_block_is_sound_and_tighter_than_intervals(block: str, fraction: float):
    torch.manual_seed(len(block))
    module = grafted(assembled([block, "conv"], (2, 5, 5)), (2, 5, 5), fraction)
    network = from_module(module, (2, 5, 5))
    box = random_box((2, 5, 5), 2, 0.3)
    crown = bound_network(network, box, rigorous=True)
    assert_sound(crown, random_points(box, 300))
    assert_sound(crown, pushing_points(network, box))
    rows = random_rows(crown)
    interval = bound_network(network, box, "interval")
    gain = margin_lower_bounds(crown, rows) - margin_lower_bounds(interval, rows, "interval")
    assert gain.max() > 0.01


@pytest.mark.parametrize("name", model_names())
def test_every_architecture_is_sound(name: str):
    torch.manual_seed(0)
    arguments = SMALLER.get(SAME_AS.get(name, name), {})
    module = model_definition(SAME_AS.get(name, name)).build(**arguments) if arguments else build_model(name)[0]
    size = arguments.get("size")
    channels, *plane = model_definition(SAME_AS.get(name, name)).input_shape
    shape = (channels, size, size) if size else (channels, *plane)
    network = from_module(module, shape)
    centre = torch.rand(1, *shape)
    box = Box((centre - 2 / 255).clamp(0, 1), (centre + 2 / 255).clamp(0, 1))
    bounds = bound_network(network, box)
    assert_sound(bounds, random_points(box, 1000), ROUNDING)
    assert_sound(bounds, pushing_points(network, box, neurons=2, steps=3), ROUNDING)


def test_a_hand_computed_network():
    # y = relu(x1 + x2) - relu(x1 - x2) on [-1, 1]²: z in [-2, 2]; lines 0 or z below, z/2 + 1 above.
    network = hand_made()
    bounds = bound_network(network, Box(-torch.ones(1, 2).double(), torch.ones(1, 2).double()))
    (site,) = network.sites
    assert bounds.pre_activation[site].lower.tolist() == [[-2, -2]]
    assert bounds.pre_activation[site].upper.tolist() == [[2, 2]]
    assert margin_lower_bounds(bounds, torch.ones(1, 1, 1).double()).item() == -2  # 0 - (x1 - x2) / 2 - 1
    assert margin_lower_bounds(bounds, torch.ones(1, 1, 1).double(), "interval").item() == -2
    assert bounds.unstable(site).all()


@pytest.mark.parametrize("layer", [nn.Linear, partial(nn.Conv2d, kernel_size=1)], ids=["dense", "windows"])
def test_intermediate_bounds_see_what_cancels(layer: Callable[[int, int], nn.Module]):
    # relu(x + 2) - relu(x + 2) = 0 on [-1, 1]; intervals say [-2, 2].
    module = nn.Sequential(layer(1, 2), nn.ReLU(), layer(2, 1), nn.ReLU()).double()
    shape = (1,) if layer is nn.Linear else (1, 2, 2)
    with torch.no_grad():
        for parameter, values in zip(module.parameters(), ([1, 1], [2, 2], [1, -1], [0]), strict=True):
            parameter.copy_(torch.tensor(values).view(parameter.shape))
    one = torch.ones(1, *shape).double()
    network = from_module(module, shape)
    crown, interval = (bound_network(network, Box(-one, one), method) for method in ("crown", "interval"))
    assert set(crown.pre_activation["3"].upper.flatten().tolist()) == {0}
    assert not crown.unstable("3").any()
    assert set(interval.pre_activation["3"].upper.flatten().tolist()) == {2}


def test_two_affine_layers_in_a_row_are_bounded_as_one():
    module = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False), nn.ReLU()).double()
    with torch.no_grad():
        module[0].weight.fill_(1)
        module[1].weight.copy_(torch.tensor([[2.0, -1.0]]))
    z = bound_network(from_module(module, (1,)), Box(-torch.ones(1, 1).double(), torch.ones(1, 1).double()))
    assert (z.pre_activation["2"].lower.item(), z.pre_activation["2"].upper.item()) == (-1, 1)  # intervals: 3


def hand_made() -> Network:
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False)).double()
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[1.0, 1], [1, -1]]))
        module[2].weight.copy_(torch.tensor([[1.0, -1]]))
    return from_module(module, (2,))


def test_an_empty_batch_has_empty_bounds():
    network = from_module(assembled(["conv", "residual"], (1, 4, 4)), (1, 4, 4))
    bounds = bound_network(network, random_box((1, 4, 4), 0, 0.1))
    assert bounds.output.lower.shape == (0, 3)


def test_selected_bounds_are_those_of_the_selected_images():
    network = from_module(assembled(["conv"], (1, 4, 4)), (1, 4, 4))
    bounds = bound_network(network, random_box((1, 4, 4), 3, 0.5), rigorous=True)
    rows = random_rows(bounds)
    order = torch.tensor([2, 0])
    picked = bounds.select(order)
    torch.testing.assert_close(margin_lower_bounds(picked, rows[order]), margin_lower_bounds(bounds, rows)[order])
    assert torch.equal(picked.output.lower, bounds.output.lower[order])


def test_nan_weights_never_give_a_finite_margin():
    module = assembled(["linear", "linear"], (3,))
    with torch.no_grad():
        module[0][0].weight[0, 0] = float("nan")
    bounds = bound_network(from_module(module, (3,)), random_box((3,), 1, 0.1))
    for method in ("interval", "crown"):
        assert margin_lower_bounds(bounds, random_rows(bounds), method).isnan().all()


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="'ibp'; known: interval, crown"):
        bound_network(hand_made(), random_box((2,), 1, 0.1), "ibp")


def test_every_selected_image_keeps_its_own_boxes_and_errors():
    network = from_module(assembled(["conv", "conv"], (1, 4, 4)), (1, 4, 4))
    bounds = bound_network(network, random_box((1, 4, 4), 3, 0.5), rigorous=True)
    order = torch.tensor([2, 0])
    picked = bounds.select(order)
    assert torch.equal(picked.box.lower, bounds.box.lower[order]) and torch.equal(picked.error, bounds.error[order])
    for site, box in bounds.pre_activation.items():
        assert torch.equal(picked.pre_activation[site].lower, box.lower[order])
        assert torch.equal(picked.pre_activation[site].upper, box.upper[order])
        assert torch.equal(picked.pre_error[site], bounds.pre_error[site][order])
        assert torch.equal(picked.unstable(site), bounds.unstable(site)[order])
