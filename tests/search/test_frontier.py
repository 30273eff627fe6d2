from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sample_cores import KINDS, instance, random_duals

from abcrown_graft.core.dual import Optimized, slices
from abcrown_graft.core.elimination import with_bounds
from abcrown_graft.search.frontier import Frontier, carried_over
from abcrown_graft.search.optimize import AdamSettings, optimize

pytestmark = pytest.mark.usefixtures("one_thread")


def subproblems(count: int, seed: int = 0) -> Optimized:
    core = instance("dense", seed).core
    return optimize(core, random_duals(core, count, seed), AdamSettings(0))


def test_what_is_pushed_is_taken_once_in_any_portions():
    for room in (1, 2, 3, 100):
        frontier = Frontier()
        parts = [subproblems(count, seed) for seed, count in ((2, 5), (2, 1), (2, 4))]
        for part in parts:
            frontier.push(part)
        assert frontier.lowest == min(float(part.lower.min()) for part in parts)
        taken = []
        while frontier:
            portion = frontier.take(room)
            assert 0 < len(portion.lower) <= room
            taken += portion.lower.tolist()
        assert sorted(taken) == sorted(torch.cat([part.lower for part in parts]).tolist())
        assert frontier.lowest == float("inf")


def test_nothing_is_known_where_a_bound_is_no_number():
    part = subproblems(3)
    frontier = Frontier()
    frontier.push(replace(part, bound=replace(part.bound, lower=torch.tensor([1.0, torch.nan, 2.0]))))
    assert frontier.lowest == -float("inf")


@pytest.mark.parametrize("kind", KINDS)
def test_a_split_stays_with_its_neuron_when_others_leave_the_core(kind):
    for seed, number in ((0, 0), (1, 0), (2, 1)):
        core = instance(kind, seed).core
        if number >= len(core.layers):
            continue
        layer = core.layers[number]
        leaves = torch.arange(len(layer.neurons)) % 2 == 0
        new = with_bounds(core, number, torch.where(leaves, 0.0, layer.lower), layer.upper)
        duals = random_duals(core, 3, seed)
        mark = torch.arange(sum(core.sizes), dtype=torch.float64).unsqueeze(1).expand(-1, 3)
        found = carried_over(replace(duals, split=mark, slack=mark + 0.25), core, new)
        rows = {site.site: at for site, at in zip(core.layers, slices(core), strict=True)}
        expected = [
            rows[site.site].start + core_neurons(core, site.site).index(neuron)
            for site in new.layers
            for neuron in site.neurons.tolist()
        ]
        assert found.split[:, 0].tolist() == expected
        assert torch.equal(found.slack, found.split + 0.25)
        assert torch.equal(found.mix, duals.mix)


def core_neurons(core, site: str) -> list[int]:
    """Numbers of a site's neurons in a core."""
    return next(layer.neurons.tolist() for layer in core.layers if layer.site == site)
