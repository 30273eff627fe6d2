"""What must be true of bounds and verdicts on any small network: against the exact minimum, and under symmetries."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_cores import KINDS, Instance, exact_minima, flat_points, instance, near, random_duals
from torch import Tensor

from abcrown_graft.bounds.propagate import bound_network, margin_lower_bounds
from abcrown_graft.core.block import Block
from abcrown_graft.core.certificate import certified_bound
from abcrown_graft.core.core import Core
from abcrown_graft.core.dual import dual_bound, mix_of, root_duals
from abcrown_graft.core.reduction import reduce_to_core
from abcrown_graft.network.forward import evaluate
from abcrown_graft.search.bab import SearchSettings, search
from abcrown_graft.search.optimize import AdamSettings, optimize
from abcrown_graft.verdict import Verdict

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = SearchSettings(timeout=60, alpha=AdamSettings(8, 0.1, 0.05), beta=AdamSettings(5, 0.05, 0.1))
NO_TARGET = float("inf")

kinds, seeds, fractions = st.sampled_from(KINDS), st.integers(0, 10**6), st.sampled_from([0.0, 0.5, 1.0])


def margins_at_most_zero(found: Instance):
    def check(points: Tensor) -> Tensor | None:
        inside = found.box.clamp(points.double().reshape(-1, *found.network.input.shape))
        wrong = ((evaluate(found.network, inside) @ found.rows.T).amin(1) <= 0).nonzero().flatten()
        return inside[wrong[0]] if len(wrong) else None

    return check


@given(kinds, seeds, fractions, st.sampled_from([-0.01, 0.01, 0.3]))
@settings(max_examples=60, deadline=None)
def test_verdict_and_optimum_are_those_of_all_linear_regions(kind, seed, fraction, least):
    found = near(kind, seed, fraction, least)
    result = search(found.core, SETTINGS, margins_at_most_zero(found))
    assert result.verdict == (Verdict.VERIFIED if least > 0 else Verdict.FALSIFIED)
    beyond = replace(found.core, out_constant=found.core.out_constant - least - 1e-3)
    blind = search(beyond, replace(SETTINGS, max_domains=10**4), None)
    assert blind.verdict == Verdict.UNKNOWN, "the optimum is below"
    within = replace(found.core, out_constant=found.core.out_constant - least + 1e-3)
    assert search(within, SETTINGS, None).verdict == Verdict.VERIFIED, "the optimum is no lower than that"


@given(kinds, seeds, fractions)
@settings(max_examples=60, deadline=None)
def test_each_method_is_inside_the_one_before_it(kind, seed, fraction):
    """interval <= CROWN <= α-CROWN <= truth, and more steps never loosen a bound."""
    found = instance(kind, seed, fraction)
    loose = bound_network(found.network, found.box, "interval")
    for site, box in bound_network(found.network, found.box).pre_activation.items():
        assert (box.lower >= loose.pre_activation[site].lower - 1e-12).all()
        assert (box.upper <= loose.pre_activation[site].upper + 1e-12).all()
    rows = found.rows.unsqueeze(0)
    duals = root_duals(found.core, mix_of(found.core, torch.arange(2)))
    bounds = [optimize(found.core, duals, AdamSettings(n, 0.2, 0.1), NO_TARGET).lower for n in (0, 3, 10)]
    torch.testing.assert_close(bounds[0], margin_lower_bounds(found.bounds, rows)[0], atol=1e-9, rtol=1e-9)
    assert (bounds[1] >= bounds[0] - 1e-12).all() and (bounds[2] >= bounds[1] - 1e-12).all()
    assert (exact_minima(found.network, found.box, found.rows) >= bounds[2] - 1e-9).all()


@given(kinds, seeds)
@settings(max_examples=40, deadline=None)
def test_any_variables_give_a_bound(kind, seed):
    found = instance(kind, seed)
    duals = random_duals(found.core, 6, seed, share=0.0)
    exact = exact_minima(found.network, found.box, found.rows)[duals.mix.argmax(0)]
    bound = dual_bound(found.core, duals)
    assert (bound.lower <= exact + 1e-9).all()
    assert (certified_bound(found.core, duals.mix, duals.split, bound.multipliers) <= exact).all()


@given(kinds, seeds)
@settings(max_examples=30, deadline=None)
def test_a_batch_is_its_subproblems(kind, seed):
    core = instance(kind, seed).core
    duals = random_duals(core, 5, seed)
    together = optimize(core, duals, AdamSettings(6, 0.1, 0.1), NO_TARGET)
    for k in range(5):
        alone = optimize(core, duals[k : k + 1], AdamSettings(6, 0.1, 0.1), NO_TARGET)
        torch.testing.assert_close(alone.lower, together.lower[k : k + 1], rtol=1e-9, atol=1e-9)


def permuted(core: Core, seed: int) -> Core:
    """The core with the neurons of every layer in another order."""
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(size, generator=generator) for size in core.sizes]
    layers = []
    for layer, order in zip(core.layers, orders, strict=True):
        of_layers = {j: Block.of(block.dense()[order][:, orders[j]]) for j, block in layer.from_layers.items()}
        vectors = {name: getattr(layer, name)[order] for name in ("neurons", "lower", "upper", "constant", "error")}
        layers.append(
            replace(layer, from_input=Block.of(layer.from_input.dense()[order]), from_layers=of_layers, **vectors)
        )
    out = tuple(Block.of(block.dense()[:, order]) for block, order in zip(core.out_layers, orders, strict=True))
    return replace(core, layers=tuple(layers), out_layers=out)


def scaled(core: Core, power: int) -> Core:
    """The core of a network whose neurons and margins are `2**power` times as large."""
    factor = 2.0**power
    layers = [
        replace(
            layer,
            from_input=Block.of(layer.from_input.dense() * factor),
            **{name: getattr(layer, name) * factor for name in ("lower", "upper", "constant", "error")},
        )
        for layer in core.layers
    ]
    out = {name: getattr(core, name) * factor for name in ("out_constant", "out_error")}
    return replace(core, layers=tuple(layers), out_input=Block.of(core.out_input.dense() * factor), **out)


@given(kinds, seeds, st.sampled_from([-0.02, 0.02]), st.sampled_from([-20, -3, 7, 30]))
@settings(max_examples=20, deadline=None)
def test_symmetries_keep_the_verdict(kind, seed, least, power):
    found = near(kind, seed, 0, least)
    expected = Verdict.VERIFIED if least > 0 else Verdict.UNKNOWN
    for core in (found.core, permuted(found.core, seed), scaled(found.core, power)):
        assert search(core, SETTINGS, None).verdict == expected


@given(st.sampled_from([kind for kind in KINDS if kind != "leaky"]), seeds)
@settings(max_examples=30, deadline=None)
def test_a_fully_grafted_network_is_bounded_exactly(kind, seed):
    """It is affine, so its margins attain the bounds at corners of the box. (LeakyReLU is never grafted.)"""
    found = instance(kind, seed, 1.0)
    assert found.core.sizes == []
    bound = dual_bound(found.core, root_duals(found.core, mix_of(found.core, torch.arange(2)))).lower
    torch.testing.assert_close(bound, exact_minima(found.network, found.box, found.rows), rtol=1e-9, atol=1e-9)
    corners = evaluate(found.network, flat_points(found.box, 4000).T.view(-1, *found.network.input.shape))
    assert ((corners @ found.rows.T).amin(0) - bound < 1e-6 + 0.3 * (1 + bound.abs())).all()


def test_a_reduction_of_no_literals_is_verified():
    found = instance("dense", 0)
    core = reduce_to_core(found.bounds, found.rows[:0])
    assert search(core, SETTINGS, None).verdict == Verdict.VERIFIED
