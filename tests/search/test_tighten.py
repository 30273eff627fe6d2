from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sample_cores import KINDS, flat_points, instance

from abcrown_graft.core.core import Core, evaluate_core
from abcrown_graft.search import tighten as tighten_module
from abcrown_graft.search.budget import Budget
from abcrown_graft.search.optimize import AdamSettings
from abcrown_graft.search.task import alone

pytestmark = pytest.mark.usefixtures("one_thread")

EFFORT = AdamSettings(15, 0.2, 0.05)


def tighten(core: Core, effort: AdamSettings, batch_size: int, dtype: torch.dtype, timeout: float = 60.0) -> Core:
    return alone(tighten_module.tighten(core, effort, batch_size, dtype, Budget(timeout)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fraction", [0, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bounds_hold_and_are_no_looser(kind, fraction, dtype):
    for seed in range(6):
        found = instance(kind, seed, fraction)
        core, points = found.core, flat_points(found.box, 3000)
        after = tighten(core, EFFORT, 3, dtype)
        literals, values = evaluate_core(core, points)
        torch.testing.assert_close(evaluate_core(after, points)[0], literals, rtol=0, atol=1e-9)
        new = {layer.site: layer for layer in after.layers}
        for layer, z in zip(core.layers, values, strict=True):
            kept = new[layer.site].neurons if layer.site in new else layer.neurons[:0]
            stays = torch.isin(layer.neurons, kept)
            least, most = z.amin(1), z.amax(1)
            assert ((least >= -1e-9) | (most <= 1e-9))[~stays].all(), "what left the core is stable"
            if stays.any():
                low, high = new[layer.site].lower, new[layer.site].upper
                assert (low <= least[stays]).all() and (high >= most[stays]).all()
                assert (low >= layer.lower[stays]).all() and (high <= layer.upper[stays]).all()


def test_it_tightens_and_removes_neurons():
    tighter = removed = 0
    for kind in KINDS:
        for seed in range(8):
            core = instance(kind, seed).core
            after = tighten(core, EFFORT, 512, torch.float32)
            removed += sum(core.sizes) - sum(after.sizes)
            new = {layer.site: layer for layer in after.layers}
            for layer in core.layers:
                if layer.site in new and len(new[layer.site].neurons) == len(layer.neurons):
                    tighter += int((new[layer.site].lower > layer.lower + 1e-3).sum())
    assert tighter > 10 and removed > 2


def test_it_stops_when_told_to():
    core = instance("dense", 2).core
    assert tighten(core, EFFORT, 512, torch.float32, timeout=0.0) is core


def test_only_certified_bounds_count(monkeypatch):
    core = instance("dense", 2).core

    def nothing(core, mix, *_):
        return torch.full((mix.shape[1],), -torch.inf, dtype=torch.float64)

    monkeypatch.setattr(tighten_module, "certified_bound", nothing)
    after = tighten(core, EFFORT, 512, torch.float32)
    assert after.sizes == core.sizes
    for old, new in zip(core.layers, after.layers, strict=True):
        assert torch.equal(new.lower, old.lower) and torch.equal(new.upper, old.upper)


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_rows_may_be_off_by_is_in_their_bounds(kind):
    checked = 0
    for seed in range(4):
        found = instance(kind, seed)
        core, error = found.core, 2.0
        if len(core.layers) < 2 or not core.layers[1].from_layers:
            continue
        second = core.layers[1]
        wide = replace(second, lower=second.lower - 9, upper=second.upper + 9, error=second.error + error)
        after = tighten(replace(core, layers=(core.layers[0], wide, *core.layers[2:])), EFFORT, 512, torch.float64)
        z = evaluate_core(core, flat_points(found.box))[1][1]
        new = next(layer for layer in after.layers if layer.site == second.site)
        at = torch.isin(second.neurons, new.neurons)
        assert (new.lower <= z.amin(1)[at] - error).all() and (new.upper >= z.amax(1)[at] + error).all()
        assert (new.lower > wide.lower[at]).any(), "the bounds that were given up were loose"
        checked += 1
    assert checked > 0
