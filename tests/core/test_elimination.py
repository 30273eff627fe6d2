from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from sample_cores import KINDS, flat_points, instance

from abcrown_graft.core.block import Block
from abcrown_graft.core.core import Core, Layer, evaluate_core
from abcrown_graft.core.elimination import with_bounds

pytestmark = pytest.mark.usefixtures("one_thread")


def assert_same(before: Core, after: Core, points: torch.Tensor) -> None:
    """Literals agree, and so does every neuron that is left."""
    old, old_values = evaluate_core(before, points)
    new, new_values = evaluate_core(after, points)
    torch.testing.assert_close(new, old, rtol=0, atol=1e-9)
    by_site = {layer.site: (layer, z) for layer, z in zip(before.layers, old_values, strict=True)}
    for layer, z in zip(after.layers, new_values, strict=True):
        whole, values = by_site[layer.site]
        at = [whole.neurons.tolist().index(neuron) for neuron in layer.neurons.tolist()]
        torch.testing.assert_close(z, values[at], rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_the_core_stays_the_same_where_its_bounds_hold(kind, share):
    """Neurons are declared stable; at the points where that is true, nothing has changed."""
    gone = 0
    for seed, number in itertools.product(range(6), range(3)):
        found = instance(kind, seed)
        core = found.core
        if number >= len(core.layers):
            continue
        layer, points = core.layers[number], flat_points(found.box, 4000)
        z = evaluate_core(core, points)[1][number]
        chosen = torch.rand(len(z), generator=torch.Generator().manual_seed(seed)) < share
        mostly = (z > 0).float().mean(1) > 0.5
        lower = torch.where(chosen & mostly, 0.0, layer.lower)
        upper = torch.where(chosen & ~mostly, 0.0, layer.upper)
        valid = ((z >= lower.unsqueeze(1)) & (z <= upper.unsqueeze(1))).all(0)
        after = with_bounds(core, number, lower, upper)
        assert sum(after.sizes) == sum(core.sizes) - int(chosen.sum())
        assert_same(core, after, points[:, valid])
        gone += int(chosen.sum()) * int(valid.any())
    assert gone > 5


def test_a_layer_that_is_stable_as_a_whole_is_gone():
    core = instance("dense", 3).core
    first = core.layers[0]
    after = with_bounds(core, 0, 0 * first.lower, first.upper)
    assert after.sizes == core.sizes[1:]
    assert all(j < k for k, layer in enumerate(after.layers) for j in layer.from_layers)
    assert with_bounds(core, 0, first.lower, 0 * first.upper).sizes == core.sizes[1:]


def test_errors_travel_with_the_rows_that_are_taken_in():
    core = instance("dense", 4).core
    first = replace(core.layers[0], error=torch.full_like(core.layers[0].error, 0.5))
    core = replace(core, layers=(first, *core.layers[1:]))
    after = with_bounds(core, 0, 0 * first.lower, first.upper)
    for old, new in zip(core.layers[1:], after.layers, strict=True):
        taken = 0.5 * old.from_layers[0].dense().abs().sum(1) if 0 in old.from_layers else 0
        torch.testing.assert_close(new.error, old.error + taken, rtol=1e-9, atol=1e-9)
        assert (new.error > old.error + taken).all() or 0 not in old.from_layers, "and the substitution rounds"
    torch.testing.assert_close(after.out_error, core.out_error + 0.5 * core.out_layers[0].dense().abs().sum(1))


def test_tighter_bounds_alone_change_nothing_else():
    core = instance("conv", 3).core
    layer = core.layers[0]
    after = with_bounds(core, 0, layer.lower / 2, layer.upper / 3)
    assert torch.equal(after.layers[0].lower, layer.lower / 2) and torch.equal(after.layers[0].upper, layer.upper / 3)
    assert after.nonzeros == core.nonzeros and torch.equal(after.out_constant, core.out_constant)


def four_layers() -> Core:
    """Two neurons in every layer, each reading all layers before it; those of the third are always active."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    ends, none = torch.full((2,), 100.0, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    layers = tuple(
        Layer(
            site=f"site {k}",
            neurons=torch.arange(2),
            lower=-ends,
            upper=ends,
            from_input=Block.of(random(2, 3)),
            from_layers={j: Block.of(random(2, 2)) for j in range(k)},
            constant=none + (50.0 if k == 2 else 0.0),
            error=none,
        )
        for k in range(4)
    )
    box = torch.ones(3, dtype=torch.float64)
    out_layers = tuple(Block.of(random(2, 2)) for _ in layers)
    return Core(-box, box, layers, Block.of(random(2, 3)), out_layers, random(2), none, torch.arange(2))


def test_every_other_layer_keeps_what_it_reads_when_one_is_gone():
    core, points = four_layers(), 2 * torch.rand(3, 500, dtype=torch.float64) - 1
    third = core.layers[2]
    assert (evaluate_core(core, points)[1][2] > 0).all()
    after = with_bounds(core, 2, torch.zeros_like(third.lower), third.upper)
    assert [layer.site for layer in after.layers] == ["site 0", "site 1", "site 3"]
    assert [set(layer.from_layers) for layer in after.layers] == [set(), {0}, {0, 1}]
    assert_same(core, after, points)
