"""What is certified holds in real arithmetic, whatever the multipliers."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_cores import KINDS, exact_minima, flat_points, instance, random_duals, sampled_minimum
from torch import Tensor

from abcrown_graft.core.block import Block
from abcrown_graft.core.certificate import certified_bound
from abcrown_graft.core.core import Core, Layer
from abcrown_graft.core.dual import dual_bound, mix_of, slices

pytestmark = pytest.mark.usefixtures("one_thread")

exactly = np.vectorize(Fraction, otypes=[object])


def rational(tensor: Tensor) -> np.ndarray:
    """The exact values of a tensor as fractions."""
    return exactly(tensor.double().numpy()) if tensor.numel() else np.zeros(tuple(tensor.shape), dtype=object)


def exact_bound(core: Core, spec: int, split: Tensor, multipliers: Tensor) -> Fraction:
    """The certificate's formula in rational arithmetic, with each row's own error taken off."""
    p = rational(multipliers)
    total = Fraction(core.out_constant[spec].item()) - Fraction(core.out_error[spec].item())
    at_input = rational(core.out_input.dense()[spec])
    a = [rational(weights.dense()[spec]) for weights in core.out_layers]
    for k, rows in enumerate(slices(core)):
        layer, own = core.layers[k], p[rows]
        at_input = at_input + own @ rational(layer.from_input.dense())
        for j, block in layer.from_layers.items():
            a[j] = a[j] + own @ rational(block.dense())
        total += own @ rational(layer.constant) - np.abs(own) @ rational(layer.error)
    for k, rows in enumerate(slices(core)):
        low, high = rational(core.layers[k].lower), rational(core.layers[k].upper)
        for i, s in enumerate(split[rows].tolist()):
            corners = [Fraction(0)]
            corners += [-p[rows][i] * low[i]] * (s <= 0) + [(a[k][i] - p[rows][i]) * high[i]] * (s >= 0)
            total += min(corners)
    ends = zip(at_input, rational(core.lower), rational(core.upper), strict=True)
    return total + sum(min(c * low, c * high) for c, low, high in ends)


def random_core(seed: int, sizes: tuple[int, ...], inputs: int, scale: float) -> Core:
    """Not of a network: any numbers, the second half of every row nearly the negative of the first."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        values = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
        half = shape[-1] // 2
        values[..., half : 2 * half] = -values[..., :half] * (1 + 1e-15)
        return values

    layers = []
    for k, n in enumerate(sizes):
        blocks = {j: Block.of(draw(n, sizes[j])) for j in range(k)}
        low, high = -draw(n).abs() - 1e-9, draw(n).abs() + 1e-9
        layers.append(Layer(str(k), torch.arange(n), low, high, Block.of(draw(n, inputs)), blocks, draw(n), 0 * low))
    low = draw(inputs)
    return Core(
        low, low + draw(inputs).abs(), tuple(layers), Block.of(draw(2, inputs)),
        tuple(Block.of(draw(2, n)) for n in sizes), draw(2),
        torch.zeros(2, dtype=torch.float64), torch.arange(2),
    )  # fmt: skip


@given(st.integers(0, 10**6), st.sampled_from([1e-6, 1.0, 1e6]), st.sampled_from([1e-8, 1.0, 1e8]))
@settings(max_examples=40)
def test_it_is_just_below_the_value_in_rational_arithmetic(seed: int, scale: float, size: float):
    core = random_core(seed, (3, 2), 4, scale)
    core = replace(core, out_error=core.out_constant.abs() * 1e-3)
    layers = [replace(layer, error=1e-4 * layer.upper) for layer in core.layers]
    core = replace(core, layers=tuple(layers))
    generator = torch.Generator().manual_seed(seed)
    multipliers = size * torch.randn(5, 4, generator=generator, dtype=torch.float64)
    split = torch.randint(-1, 2, (5, 4), generator=generator).double()
    found = certified_bound(core, mix_of(core, torch.arange(4) % 2), split, multipliers)
    for k in range(4):
        exact = exact_bound(core, k % 2, split[:, k], multipliers[:, k])
        assert Fraction(found[k].item()) <= exact
        terms = size * scale * (1 + scale) * 100 + scale * (1 + scale) * 100
        assert exact - Fraction(found[k].item()) <= Fraction(1e-11 * terms)


def test_rounding_is_accounted_for():
    """The same sums without an error bound are above the exact value as often as below."""
    above = 0
    for seed in range(40):
        core = random_core(seed, (3, 2), 4, 1e6)
        p = torch.randn(5, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        zero = mix_of(core, torch.zeros(1, dtype=torch.int64))
        exact = exact_bound(core, 0, 0 * p[:, 0], p[:, 0])
        assert Fraction(certified_bound(core, zero, 0 * p, p).item()) <= exact
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("abcrown_graft.core.certificate._gamma", lambda terms: 0.0)
            above += Fraction(certified_bound(core, zero, 0 * p, p).item()) > exact
    assert above > 5


def test_coefficients_that_cancel_keep_the_rounding_of_what_they_are_sums_of():
    """A = w + P M is nothing but rounding: its sign, and the corner that it chooses, are anybody's guess."""
    for seed in range(40):
        core = random_core(seed, (1, 3), 2, 1.0)
        p = torch.randn(4, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        p[0] = 0
        first, second = (
            replace(layer, from_input=Block.of(0 * layer.from_input.dense()), constant=0 * layer.constant)
            for layer in core.layers
        )
        second = replace(second, lower=0 * second.lower - 1e-30, upper=0 * second.upper + 1e-30)
        weights = -second.from_layers[0].transpose_times(p[1:]).T
        core = replace(
            core, layers=(first, second), out_constant=0 * core.out_constant,
            out_input=Block.of(0 * core.out_input.dense()),
            out_layers=(Block.of(weights.repeat(2, 1)), Block.of(torch.zeros(2, 3, dtype=torch.float64))),
        )  # fmt: skip
        exact = exact_bound(core, 0, 0 * p[:, 0], p[:, 0])
        assert Fraction(certified_bound(core, mix_of(core, torch.tensor([0])), 0 * p, p).item()) <= exact


MULTIPLIERS = {
    "zero": lambda p: 0 * p,
    "the dual's": lambda p: p,
    "rounded": lambda p: p.float(),
    "random": lambda p: torch.randn_like(p),
    "negative": lambda p: -p.abs(),
    "positive": lambda p: p.abs(),
    "huge": lambda p: 1e6 * torch.randn_like(p),
    "tiny": lambda p: 1e-300 * torch.randn_like(p),
}


@pytest.mark.parametrize("which", list(MULTIPLIERS))
@pytest.mark.parametrize("kind", KINDS)
def test_no_point_is_below_it_without_any_tolerance(kind, which):
    torch.manual_seed(0)
    for seed in range(5):
        found = instance(kind, seed, fraction=0.25 * (seed % 2))
        duals = random_duals(found.core, 24, seed, 0.2 * (seed % 3))
        p = MULTIPLIERS[which](dual_bound(found.core, duals).multipliers)
        bound = certified_bound(found.core, duals.mix, duals.split, p)
        assert (bound <= sampled_minimum(found.core, duals, flat_points(found.box, seed=seed))).all()
        root = certified_bound(found.core, duals.mix, 0 * duals.split, p)
        assert (root <= exact_minima(found.network, found.box, found.rows)[duals.mix.argmax(0)]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_with_the_duals_own_multipliers_it_is_no_worse_than_the_dual(kind):
    for seed in range(5):
        core = instance(kind, seed).core
        duals = random_duals(core, 16, seed, 0.0)
        bound = dual_bound(core, duals)
        found = certified_bound(core, duals.mix, duals.split, bound.multipliers)
        torch.testing.assert_close(found, bound.lower, rtol=0, atol=1e-6)
        split = random_duals(core, 16, seed, 0.4)
        bound = dual_bound(core, split)
        found = certified_bound(core, split.mix, split.split, bound.multipliers)
        inside = split_dual_is_attained(core, split)
        torch.testing.assert_close(found[inside], bound.lower[inside], rtol=0, atol=1e-6)


def split_dual_is_attained(core: Core, duals) -> Tensor:
    """Where the certificate's edge minimum is the dual's zero: `(A - P) u >= 0` and `-P l >= 0` on split neurons."""
    bound = dual_bound(core, duals)
    active = (duals.split <= 0) | (bound.coefficients >= bound.multipliers)
    inactive = (duals.split >= 0) | (bound.multipliers >= 0)
    return (active & inactive).all(0)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e308, -1e308])
@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_multipliers_that_are_not_numbers_certify_nothing(kind, value):
    found = instance(kind, 3, shift=1e3)
    duals = random_duals(found.core, 2, 1, 0.0)
    good = dual_bound(found.core, duals).multipliers
    assert len(good) > 2
    assert (certified_bound(found.core, duals.mix, duals.split, good) > 0).all()
    for neuron, sign in itertools.product(range(len(good)), (-1.0, 0.0, 1.0)):
        bad, split = good.clone(), duals.split.clone()
        bad[neuron, 0], split[neuron, 0] = value, sign
        bound = certified_bound(found.core, duals.mix, split, bad)
        assert bound[0] < -1e300
        assert abs(value) < torch.inf or bound[0] == -torch.inf
        assert bound[1] > 0, "the other subproblem is none the worse"


@pytest.mark.parametrize("field", ["out_constant", "out_error", "lower"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_core_that_is_not_finite_certifies_nothing(field, value):
    found = instance("dense", 1, shift=1e3)
    duals = random_duals(found.core, 1, 1, 0.0)
    wrong = getattr(found.core, field).clone()
    wrong[0] = value
    core = replace(found.core, **{field: wrong})
    p = dual_bound(found.core, duals).multipliers
    assert certified_bound(core, duals.mix, duals.split, p)[0] == -torch.inf


def test_each_rows_error_is_taken_off():
    found = instance("dense", 2)
    core = found.core
    duals = random_duals(core, 4, 2)
    p = dual_bound(core, duals).multipliers
    before = certified_bound(core, duals.mix, duals.split, p)
    layers = tuple(replace(layer, error=layer.error + 0.5) for layer in core.layers)
    after = certified_bound(replace(core, layers=layers), duals.mix, duals.split, p)
    torch.testing.assert_close(before - after, 0.5 * p.abs().sum(0))
    out = certified_bound(replace(core, out_error=core.out_error + 2), duals.mix, duals.split, p)
    torch.testing.assert_close(before - out, torch.full((4,), 2.0, dtype=torch.float64))


def test_an_empty_subproblem_is_certified_by_large_multipliers():
    """z = x for x in [1, 2] in truth, known only to lie in [-9, 9]: the inactive half holds no point."""
    one = torch.ones(1, dtype=torch.float64)
    layer = Layer("z", one.long(), -9 * one, 9 * one, Block.of(one.view(1, 1)), {}, 0 * one, 0 * one)
    row = Block.of(one.view(1, 1))
    core = Core(one, 2 * one, (layer,), row, (row,), -7 * one, 0 * one, torch.tensor([0]))
    found = [
        certified_bound(core, one.view(1, 1), sign * one.view(1, 1), p * one.view(1, 1)).item()
        for sign, p in itertools.product((-1, 1), (0.0, 100.0))
    ]
    assert found == pytest.approx([-6, 94, -6, 94 - 9 * 99])


def test_no_neurons_and_no_subproblems():
    found = instance("residual", 0)
    core = replace(found.core, layers=(), out_layers=())
    none = torch.zeros(0, 2, dtype=torch.float64)
    points = flat_points(found.box)
    least = (core.out_input @ points).amin(1) + core.out_constant
    bound = certified_bound(core, mix_of(core, torch.arange(2)), none, none)
    assert (bound <= least).all() and (bound > least - 0.1).all()
    size = sum(found.core.sizes)
    empty = torch.zeros(size, 0, dtype=torch.float64)
    assert certified_bound(found.core, empty[:2], empty, empty).shape == (0,)


@pytest.mark.parametrize(
    ("clause", "mix", "certified"),
    [
        ([0, 0], [1.0, 1.0], True),
        ([0, 1], [0.0, 2.0], True),
        ([0, 1], [1.0, 1.0], False),  # that two clauses hold on average says nothing about either
        ([1, 0], [1.0, 1e-300], False),
        ([0, 0], [-1.0, 3.0], False),
        ([0, 1], [-1.0, 0.0], False),
    ],
)
def test_only_a_mix_of_literals_of_one_clause_proves_something(clause, mix, certified):
    core = instance("dense", 0).core
    sign = torch.tensor(mix).sign().double()
    core = replace(core, clause=torch.tensor(clause), out_constant=1000 * torch.where(sign < 0, sign, 1.0))
    none = torch.zeros(sum(core.sizes), 1, dtype=torch.float64)
    bound = certified_bound(core, torch.tensor(mix, dtype=torch.float64).unsqueeze(1), none, none)
    assert bool(bound > 0) is certified
    assert certified or bound == -torch.inf
