from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sample_cores import KINDS, flat_points, instance, random_duals, sampled_minimum

from abcrown_graft.core.dual import Optimized, dual_bound, mix_of, primal_values, root_duals
from abcrown_graft.search.optimize import AdamSettings, optimize

pytestmark = pytest.mark.usefixtures("one_thread")

NO_TARGET = float("inf")


def optimized(kind: str, seed: int, iterations: int, share: float = 0.3, lr: float = 0.1, **options) -> tuple:
    core = instance(kind, seed).core
    duals = random_duals(core, 12, seed, share)
    found = optimize(core, duals, AdamSettings(iterations, lr, lr), options.pop("target", NO_TARGET), **options)
    return core, duals, found


@pytest.mark.parametrize("kind", KINDS)
def test_more_iterations_are_never_worse_and_none_is_the_start(kind):
    for seed in range(3):
        core, duals, best = optimized(kind, seed, 0)
        assert torch.equal(best.lower, dual_bound(core, duals).lower)
        for iterations in (1, 2, 5, 20):
            _, _, more = optimized(kind, seed, iterations)
            assert (more.lower >= best.lower).all()
            best = more


def test_it_does_raise_the_bound():
    _, _, start = optimized("dense", 2, 0)
    _, _, after = optimized("dense", 2, 20)
    assert (after.lower > start.lower + 0.1).float().mean() > 0.5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lr", [0.1, 5.0])
def test_variables_stay_where_the_bound_is_valid(kind, lr):
    for seed in range(4):
        core, duals, found = optimized(kind, seed, 15, lr=lr)
        assert torch.equal(found.duals.split, duals.split) and torch.equal(found.duals.mix, duals.mix)
        assert (found.duals.slack >= 0).all()
        assert (found.duals.slack[duals.split == 0] <= 1).all()
        least = sampled_minimum(core, duals, flat_points(instance(kind, seed).box))
        assert (found.lower <= least + 1e-9).all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_of_the_result_belongs_to_its_bound(kind):
    """Columns are best at different iterations; none may mix."""
    core, _, found = optimized(kind, 3, 12, lr=0.7)
    again = dual_bound(core, found.duals)
    for name in vars(again):
        torch.testing.assert_close(getattr(found.bound, name), getattr(again, name), rtol=0, atol=0)
    inputs, values, literals = primal_values(core, again)
    assert torch.equal(found.inputs, inputs) and torch.equal(found.values, values)
    assert torch.equal(found.literals, literals)
    assert torch.equal(found.lower, again.lower) and torch.equal(found.multipliers, again.multipliers)


def test_the_given_variables_are_left_alone():
    core = instance("dense", 2).core
    duals = random_duals(core, 4, 2)
    copies = {name: value.clone() for name, value in vars(duals).items()}
    optimize(core, duals, AdamSettings(5, 0.5, 0.5), NO_TARGET)
    assert all(torch.equal(getattr(duals, name), value) for name, value in copies.items())


def test_the_best_single_slope_is_found():
    """One unstable neuron: the bound is concave in α, so a fine grid knows its maximum."""
    found = next(found for found in (instance("dense", seed) for seed in range(50)) if found.core.sizes == [1])
    core = found.core
    grid = torch.linspace(0, 1, 2001, dtype=torch.float64).unsqueeze(0)
    column = torch.zeros_like(grid)
    for spec in range(2):
        mix = mix_of(core, torch.full((2001,), spec))
        at = replace(random_duals(core, 2001, 0), mix=mix, split=column, slack=grid)
        one = optimize(core, at[slice(1000, 1001)], AdamSettings(200, 0.1, 0.1), NO_TARGET)
        assert one.lower[0] == pytest.approx(float(dual_bound(core, at).lower.max()), abs=2e-3)


class Counter:
    """A condition that holds from a given question on."""

    def __init__(self, after: int) -> None:
        self.asked, self.after = 0, after

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked > self.after


def lower(found: tuple) -> Optimized:
    return found[2].lower


def test_it_stops_when_told():
    for steps in (0, 3):
        told = Counter(steps)
        stopped = optimized("dense", 2, 50, stop=told)
        assert told.asked == steps + 1
        assert torch.equal(lower(stopped), lower(optimized("dense", 2, steps)))


def test_it_stops_when_every_bound_exceeds_the_target():
    start = lower(optimized("dense", 2, 0))
    easy, hard = Counter(99), Counter(99)
    early = optimized("dense", 2, 50, target=float(start.min()) - 1, stop=easy)
    assert easy.asked == 0 and torch.equal(lower(early), start)
    optimized("dense", 2, 7, target=float(start.max()) + 1e6, stop=hard)
    assert hard.asked == 7


def test_nothing_to_optimise():
    core = instance("dense", 2).core
    assert len(optimize(core, random_duals(core, 0, 0), AdamSettings()).lower) == 0
    bare = replace(core, layers=(), out_layers=())
    none = torch.zeros(0, 2, dtype=torch.float64)
    duals = replace(random_duals(core, 2, 0), split=none, slack=none)
    assert torch.isfinite(optimize(bare, duals, AdamSettings(3)).lower).all()


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_a_clause_stay_weights(kind):
    """A literal far below zero would raise the bound without limit if its weight could be negative."""
    core = instance(kind, 0).core
    apart = torch.tensor([100.0, -100.0], dtype=torch.float64)
    core = replace(core, clause=torch.zeros(2, dtype=torch.int64), out_constant=core.out_constant + apart)
    start = root_duals(core, torch.full((2, 3), 0.5, dtype=torch.float64))
    found = optimize(core, start, AdamSettings(10, 1.0, 0.1), NO_TARGET)
    assert (found.duals.mix >= 0).all()
    torch.testing.assert_close(found.duals.mix.sum(0), torch.ones(3, dtype=torch.float64))
    assert (found.lower > dual_bound(core, start).lower + 50).all(), "the better literal takes over"
