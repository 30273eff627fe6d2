"""Lower bounds of subproblems, against samples, finite differences and CROWN."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sample_cores import KINDS, flat_points, instance, random_duals, sampled_minimum

from abcrown_graft.bounds.propagate import bound_network, margin_lower_bounds
from abcrown_graft.core.block import Block
from abcrown_graft.core.core import Core
from abcrown_graft.core.dual import Duals, dual_bound, mix_of, primal_values, slices
from abcrown_graft.core.reduction import reduce_to_core

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_no_point_of_a_subproblem_is_below_its_bound(kind, seed):
    found = instance(kind, seed, fraction=0.25 * (seed % 2))
    for share in (0.0, 0.15, 0.5):
        duals = random_duals(found.core, 24, seed, share)
        least = sampled_minimum(found.core, duals, flat_points(found.box, seed=seed))
        assert (dual_bound(found.core, duals).lower <= least + 1e-9).all()
        assert share == 0.5 or torch.isfinite(least).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_without_splits_and_with_adaptive_slopes_it_is_crown(kind, seed):
    found = instance(kind, seed)
    bounds = bound_network(found.network, found.box)
    core = reduce_to_core(bounds, found.rows)
    wider = torch.cat([core.lower[:0], *((layer.upper > -layer.lower).double() for layer in core.layers)])
    alpha = wider.unsqueeze(1).repeat(1, 2)
    duals = Duals(mix_of(core, torch.arange(2)), torch.zeros_like(alpha), alpha)
    crown = margin_lower_bounds(bounds, found.rows.unsqueeze(0))[0]
    torch.testing.assert_close(dual_bound(core, duals).lower, crown, rtol=1e-11, atol=1e-11)


def smooth_at(core: Core, duals: Duals, step: float) -> torch.Tensor:
    """Subproblems `(batch,)` whose bound has no kink near by: nothing whose sign matters is close to zero."""
    bound = dual_bound(core, duals)
    return (bound.at_input.abs() > 1e3 * step).all(0) & (bound.coefficients.abs() > 1e3 * step).all(0)


@pytest.mark.parametrize("kind", ["dense", "residual", "leaky"])
def test_the_gradient_is_read_off_the_primal_point(kind):
    step, compared = 1e-7, 0
    for seed in range(6):
        found = instance(kind, seed)
        free = (found.box.upper > found.box.lower).flatten()
        core = replace(found.core, lower=found.core.lower - 0.01 * ~free, upper=found.core.upper + 0.01 * ~free)
        duals = random_duals(core, 6, seed)
        bound = dual_bound(core, duals)
        _, values, _ = primal_values(core, bound)
        of_alpha, of_beta = bound.coefficients.clamp(min=0) * values, -duals.split * values
        expected = torch.where(duals.split == 0, of_alpha, of_beta)
        smooth = smooth_at(core, duals, step)
        for neuron in range(sum(core.sizes)):
            there, back = duals.slack.clone(), duals.slack.clone()
            there[neuron] += step
            back[neuron] -= step
            rise = [dual_bound(core, replace(duals, slack=moved)).lower for moved in (there, back)]
            slope = (rise[0] - rise[1]) / (2 * step)
            torch.testing.assert_close(slope[smooth], expected[neuron][smooth], rtol=1e-5, atol=1e-5)
            compared += int((smooth & (expected[neuron] != 0)).sum())
    assert compared > 30


@pytest.mark.parametrize("kind", KINDS)
def test_the_primal_point_attains_the_bound(kind):
    """Lagrangian at x, v, y: margin + Σ β (-s v) is the bound, since the minimum over the box is at x."""
    for seed in range(4):
        core = instance(kind, seed).core
        duals = random_duals(core, 8, seed)
        bound = dual_bound(core, duals)
        x, v, literals = primal_values(core, bound)
        y = bound.slope * v + bound.intercept
        expected = core.out_input @ x + core.out_constant.unsqueeze(1)
        for weights, rows in zip(core.out_layers, slices(core), strict=True):
            expected = expected + weights @ y[rows]
        torch.testing.assert_close(literals, expected)
        mixed = (duals.mix * literals).sum(0)
        torch.testing.assert_close(mixed - (duals.slack * duals.split * v).sum(0), bound.lower)
        assert ((x >= core.lower.unsqueeze(1) - 1e-12) & (x <= core.upper.unsqueeze(1) + 1e-12)).all()


def test_a_bound_computed_by_hand():
    """z = x for x in [-1, 3], margin = relu(z) and -relu(z): lines 0 or z below, 3/4 (z + 1) above."""
    core = instance("dense", 0).core
    one = torch.ones(1, dtype=torch.float64)
    layer = replace(
        core.layers[0], neurons=one.long(), lower=-one, upper=3 * one, constant=0 * one, error=0 * one,
        from_input=Block.of(one.view(1, 1)), from_layers={},
    )  # fmt: skip
    spec = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    none, out = 0 * spec[:, 0], (Block.of(spec),)
    core = Core(-one, 3 * one, (layer,), Block.of(0 * spec), out, none, none, torch.arange(2))

    def lower(spec: int, split: float, alpha: float, beta: float) -> float:
        slack = beta if split else alpha
        variables = (torch.full((1, 1), value, dtype=torch.float64) for value in (split, slack))
        return float(dual_bound(core, Duals(mix_of(core, torch.tensor([spec])), *variables)).lower)

    assert lower(0, 0, 0.5, 0) == -0.5
    assert lower(0, 0, 0.0, 0) == 0.0
    assert lower(1, 0, 0.5, 0) == -3.0, "the chord at its upper end"
    assert lower(0, +1, 0.5, 0) == -1.0, "z itself, over the whole box"
    assert lower(0, +1, 0.5, 1.0) == 0.0, "z - β z"
    assert lower(0, -1, 0.5, 0.25) == -0.25, "0 + β z"
    assert lower(1, -1, 0.5, 0) == 0.0
    assert lower(1, +1, 0.5, 0) == -3.0


def test_no_layers():
    found = instance("conv", 0)
    core = replace(found.core, layers=(), out_layers=())
    empty = torch.zeros(0, 2, dtype=torch.float64)
    bound = dual_bound(core, Duals(mix_of(core, torch.tensor([1, 0])), empty, empty))
    rows = core.out_input.dense()
    expected = core.out_constant + rows.clamp(min=0) @ core.lower + rows.clamp(max=0) @ core.upper
    torch.testing.assert_close(bound.lower, expected.flip(0))
    x, values, _ = primal_values(core, bound)
    assert values.shape == (0, 2) and x.shape == (9, 2)


def test_batches_are_joined_and_taken_apart():
    core = instance("dense", 0).core
    duals = random_duals(core, 5, 0)
    again = Duals.cat([duals[slice(0, 2)], duals[torch.tensor([2, 3, 4])]])
    assert len(again) == 5
    assert all(torch.equal(getattr(again, name), getattr(duals, name)) for name in vars(duals))
