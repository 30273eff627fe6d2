"""Functions on live neurons only: the same as on whole maps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from sample_networks import FLAT_BLOCKS, IMAGE_BLOCKS, Sample, assembled, random_box, samples

from abcrown_graft.bounds import sparse
from abcrown_graft.bounds.backward import lower_bound
from abcrown_graft.bounds.interval import interval_boxes
from abcrown_graft.bounds.live import ImageBounds
from abcrown_graft.bounds.propagate import NetworkBounds, bound_network
from abcrown_graft.bounds.sparse import Columns
from abcrown_graft.network import operators as op
from abcrown_graft.network.trace import from_module

pytestmark = pytest.mark.usefixtures("one_thread")


def both_sides(bounds: NetworkBounds, site: str, enough: float | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Lower bounds `(neurons,)` of everything that a site reads, and of its negative, on live and on all neurons."""
    network = bounds.network
    node = network.by_name[network.by_name[site].inputs[0]]
    count = torch.Size(node.shape).numel()
    neuron, sign = torch.arange(count).repeat(2), torch.tensor([1.0, -1.0]).double().repeat_interleave(count)
    image = ImageBounds(network, 0, bounds.relaxations, interval_boxes(network, bounds.box))
    found = image.lower(node.name, neuron, sign, None if enough is None else torch.full_like(sign, enough))
    rows = torch.zeros(2 * count, count, dtype=torch.float64)
    rows[torch.arange(2 * count), neuron] = sign
    rows = rows.view(1, -1, *node.shape)
    return found, lower_bound(network, node.name, rows, bounds.relaxations, bounds.box)[0]


def assert_same(bounds: NetworkBounds) -> None:
    for site in bounds.pre_activation:
        torch.testing.assert_close(*both_sides(bounds, site))


@given(samples(batch=1))
@settings(max_examples=40)
def test_bounds_on_live_neurons_are_those_of_the_plain_pass(sample: Sample):
    assert_same(bound_network(sample.network, sample.box))


@pytest.mark.parametrize("block", [*IMAGE_BLOCKS, *FLAT_BLOCKS])
def test_every_block(block: str):
    torch.manual_seed(3)
    shape = (2, 5, 5) if block in IMAGE_BLOCKS else (4,)
    network = from_module(assembled([block, "conv" if block in IMAGE_BLOCKS else "linear"], shape), shape)
    assert_same(bound_network(network, random_box(shape, 1, 0.5)))


@given(samples(batch=1))
@settings(max_examples=30)
def test_a_pass_that_ends_early_has_proved_enough(sample: Sample):
    bounds = bound_network(sample.network, sample.box)
    for site in bounds.pre_activation:
        found, plain = both_sides(bounds, site, enough=0.0)
        assert ((found >= 0) | (found >= plain - 1e-9)).all(), "undecided, yet looser than the plain pass"


def test_functions_in_chunks_are_the_same(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    network = from_module(assembled(["conv", "residual"], (1, 4, 4)), (1, 4, 4))
    bounds = bound_network(network, random_box((1, 4, 4), 1, 0.5))
    *_, site = bounds.pre_activation
    whole = both_sides(bounds, site)[0]
    monkeypatch.setattr("abcrown_graft.bounds.live.FUNCTIONS_PER_PASS", 3)
    torch.testing.assert_close(both_sides(bounds, site)[0], whole)


def test_sums_of_columns_meet_by_neuron():
    first = Columns(torch.tensor([0, 2]), torch.tensor([[1.0], [2.0]]))
    second = Columns(torch.tensor([1, 2]), torch.tensor([[10.0], [20.0]]))
    total = first + second
    assert (total.kept.tolist(), total.values.tolist()) == ([0, 1, 2], [[1], [10], [22]])
    assert total.at(torch.tensor([2, 3])).tolist() == [[22, 0]]
    box = torch.tensor([-1.0, -2, -3]), torch.tensor([4.0, 5, 6])
    assert (-1 * 1 + -2 * 10 + -3 * 22) == total.least(*box).item()


def test_large_networks_are_left_to_convolutions(monkeypatch: pytest.MonkeyPatch):
    network = from_module(assembled(["conv"], (1, 4, 4)), (1, 4, 4))
    assert sparse.fits(network)
    largest = max(n.operator.entries(n.shape) for n in network.nodes if isinstance(n.operator, op.AffineOperator))
    monkeypatch.setattr(sparse, "MAX_ENTRIES", largest - 1)
    assert not sparse.fits(network)
