from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from sample_cores import exact_minima, flat_points, instance

from abcrown_graft.core.block import Block
from abcrown_graft.core.certificate import certified_bound
from abcrown_graft.core.core import Core, Layer, evaluate_core
from abcrown_graft.core.dual import Duals, mix_of
from abcrown_graft.search.leaf import decide_leaf, solve_leaf

pytestmark = pytest.mark.usefixtures("one_thread")


def leaf_of(core: Core, pattern: tuple[float, ...], literal: int) -> Duals:
    split = torch.tensor(pattern, dtype=torch.float64).unsqueeze(1)
    return Duals(mix_of(core, torch.tensor([literal])), split, torch.rand_like(split))


SMALL = [("dense", 4), ("leaky", 7), ("residual", 2), ("conv", 12), ("dense", 12)]


@pytest.mark.parametrize("kind, seed", SMALL)
@pytest.mark.parametrize("spec", [0, 1])
def test_the_least_leaf_is_the_least_margin(kind, seed, spec):
    """All leaves together cover the box: their minimum is the network's, and certificates know it."""
    found = instance(kind, seed)
    core = found.core
    assert 1 <= sum(core.sizes) <= 5
    z = torch.cat(evaluate_core(core, flat_points(found.box))[1])
    occupied = {tuple(column) for column in torch.where(z > 0, 1.0, -1.0).T.tolist()}
    bounds = {}
    for pattern in itertools.product((1.0, -1.0), repeat=sum(core.sizes)):
        leaf = leaf_of(core, pattern, spec)
        mix, multipliers, point = solve_leaf(core, leaf, 1.0)
        bounds[pattern] = float(certified_bound(core, mix, leaf.split, multipliers))
        assert ((point >= core.lower) & (point <= core.upper)).all()
        margins, values = evaluate_core(core, point.unsqueeze(1))
        fits = bool((leaf.split * torch.cat(values) >= -1e-9).all())
        assert not fits or float(margins[spec]) == pytest.approx(bounds[pattern], abs=1e-6), "attained by its point"
        assert fits or pattern not in occupied
    exact = float(exact_minima(found.network, found.box, found.rows)[spec])
    assert min(bounds.values()) == pytest.approx(exact, abs=1e-6)
    assert min(bounds.values()) <= exact


@pytest.mark.parametrize("kind, seed", SMALL)
def test_splits_that_no_point_satisfies_are_certified(kind, seed):
    found = instance(kind, seed, shift=-3.0)
    core = found.core
    z = torch.cat(evaluate_core(core, flat_points(found.box, 20000))[1])
    occupied = {tuple(column) for column in torch.where(z > 0, 1.0, -1.0).T.tolist()}
    empty = [p for p in itertools.product((1.0, -1.0), repeat=sum(core.sizes)) if p not in occupied]
    assert empty or sum(core.sizes) < 3
    for pattern in empty:
        leaf = leaf_of(core, pattern, 0)
        mix, multipliers, point = solve_leaf(core, leaf, 1.0)
        if bool((leaf.split * torch.cat(evaluate_core(core, point.unsqueeze(1))[1]) < -1e-3).any()):
            assert certified_bound(core, mix, leaf.split, multipliers)[0] > 0


def contradiction() -> Core:
    """z₀ = x, z₁ = x - 1 for x in [-2, 2], margin -5: z₁ active needs z₀ active."""
    one = torch.ones(1, dtype=torch.float64)
    first = Layer("a", one.long(), -2 * one, 2 * one, Block.of(one.view(1, 1)), {}, 0 * one, 0 * one)
    second = Layer("b", one.long(), -3 * one, 1 * one, Block.of(one.view(1, 1)), {}, -one, 0 * one)
    none = Block.of(0 * one.view(1, 1))
    return Core(-2 * one, 2 * one, (first, second), none, (none, none), -5 * one, 0 * one, torch.tensor([0]))


@pytest.mark.parametrize("pattern, empty", [((-1, 1), True), ((1, 1), False), ((1, -1), False), ((-1, -1), False)])
def test_a_contradiction_by_hand(pattern, empty):
    core = contradiction()
    leaf = leaf_of(core, pattern, 0)
    mix, multipliers, point = solve_leaf(core, leaf, 1.0)
    bound = float(certified_bound(core, mix, leaf.split, multipliers))
    if empty:
        assert bound > 0
    else:
        assert bound == pytest.approx(-5)
        assert pattern[0] * float(point) >= -1e-9 and pattern[1] * (float(point) - 1) >= -1e-9


def test_a_solver_that_fails_claims_nothing(monkeypatch):
    class Failed:
        status = 4

    monkeypatch.setattr("scipy.optimize.linprog", lambda *_, **__: Failed())
    core = contradiction()
    leaf = leaf_of(core, (-1, 1), 0)
    mix, multipliers, point = solve_leaf(core, leaf, 1.0)
    assert multipliers.shape == (2, 1) and not mix.any() and point.tolist() == [0.0]
    assert float(certified_bound(core, mix, leaf.split, multipliers)) <= 0


@pytest.mark.parametrize("pattern, proved", [((-1, 1), True), ((1, 1), False), ((-1, -1), False)])
def test_an_empty_leaf_is_decided_and_a_negative_one_is_not(pattern, proved):
    core = contradiction()
    assert decide_leaf(core, leaf_of(core, pattern, 0))[0] is proved


def test_a_contradiction_is_found_however_low_its_clause_is(monkeypatch):
    """Where the price of the slack does not outweigh the clause, the contradiction alone is asked for."""
    core = contradiction()
    core = replace(core, out_constant=core.out_constant * 1e9)
    leaf = leaf_of(core, (-1, 1), 0)
    mix, multipliers, _ = solve_leaf(core, leaf, 1.0)
    assert certified_bound(core, mix, leaf.split, multipliers)[0] < 0
    assert decide_leaf(core, leaf)[0]


def test_the_largest_literal_is_minimised():
    """Margins x and -x for z = x active: the clause holds but at 0, where both are 0."""
    core = contradiction()
    one = torch.ones(1, dtype=torch.float64)
    rows = torch.cat([one.view(1, 1), -one.view(1, 1)])
    none = Block.of(0 * rows)
    core = replace(
        core, out_input=Block.of(rows), out_layers=(none, none), out_constant=torch.tensor([-0.5, 1.0]).double(),
        out_error=torch.zeros(2).double(), clause=torch.zeros(2, dtype=torch.int64),
    )  # fmt: skip
    leaf = leaf_of(core, (1, -1), 0)
    mix, multipliers, point = solve_leaf(core, leaf, 1.0)
    assert mix.flatten().tolist() == pytest.approx([0.5, 0.5]) and float(point) == pytest.approx(0.75)
    assert float(certified_bound(core, mix, leaf.split, multipliers)) == pytest.approx(0.25)
    assert decide_leaf(core, leaf)[0]


@pytest.mark.parametrize("margin", [-1e-3, -1e-12, 0.0])
def test_a_leaf_that_is_barely_false_is_not_proved(margin):
    core = replace(contradiction(), out_constant=torch.tensor([margin], dtype=torch.float64))
    assert decide_leaf(core, leaf_of(core, (1, 1), 0))[0] is False
    assert decide_leaf(replace(core, out_constant=core.out_constant + 1), leaf_of(core, (1, 1), 0))[0] is True
