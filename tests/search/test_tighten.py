from __future__ import annotations

import pytest
import torch
from sample_cores import KINDS, flat_points, instance

from abcrown_graft.core.core import evaluate_core
from abcrown_graft.search.optimize import AdamSettings
from abcrown_graft.search.tighten import tighten

pytestmark = pytest.mark.usefixtures("one_thread")

EFFORT = AdamSettings(15, 0.2, 0.05)


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
    assert tighten(core, EFFORT, 512, torch.float32, lambda: True) is core
