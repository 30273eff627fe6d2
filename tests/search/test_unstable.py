"""Neurons that α-CROWN calls stable are stable, and it calls no fewer so than CROWN."""

from __future__ import annotations

import pytest
import torch
from sample_networks import assembled, grafted, random_box

from abcrown_graft.bounds.propagate import NetworkBounds, bound_network
from abcrown_graft.network.forward import pre_activations
from abcrown_graft.network.graph import Network
from abcrown_graft.network.trace import from_module
from abcrown_graft.search.optimize import AdamSettings
from abcrown_graft.search.unstable import unstable_by_alpha

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = {"residual": ["conv", "residual"], "pool": ["strided", "pool"], "leaky": ["dilated", "conv"]}
BLOCKS = {**IMAGES, "dense": ["linear", "linear", "linear"]}


def sample(blocks: str, fraction: float = 0.0) -> tuple[Network, NetworkBounds]:
    torch.manual_seed(5)
    shape = (2, 5, 5) if blocks in IMAGES else (4,)
    module = assembled(BLOCKS[blocks], shape)
    network = from_module(grafted(module, shape, fraction) if fraction else module, shape)
    radius = 0.2 if blocks in IMAGES else 1.0
    return network, bound_network(network, random_box(shape, 3, radius), rigorous=True)


def optimised(bounds: NetworkBounds, iterations: int = 10, **options: object) -> dict[str, torch.Tensor]:
    settings = AdamSettings(iterations, lr_alpha=0.1)
    return unstable_by_alpha(bounds, settings, **{"batch_size": 64, "dtype": torch.float32, **options})


@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("fraction", (0.0, 0.4))
def test_what_changes_sign_is_unstable_and_what_crown_decides_stays_decided(blocks: str, fraction: float):
    network, bounds = sample(blocks, fraction)
    found = optimised(bounds)
    share = torch.rand(200, *bounds.box.lower.shape, dtype=torch.float64)
    points = bounds.box.lower + (share > 0.5) * (bounds.box.upper - bounds.box.lower)
    inputs = [pre_activations(network, x)[1] for x in points]
    for site, flags in found.items():
        z = torch.stack([each[site] for each in inputs])
        changing = (z > 0).any(0) & (z < 0).any(0) & ~network.grafted_mask(site)
        assert flags.dtype == torch.bool and flags.shape == z.shape[1:]
        assert not (changing & ~flags).any()
        assert not (flags & ~bounds.unstable(site)).any()
    assert sum(int(flags.sum()) for flags in found.values())


def test_optimised_slopes_decide_more_than_crowns():
    crown = alpha = 0
    for blocks in BLOCKS:
        _, bounds = sample(blocks)
        crown += sum(int(bounds.unstable(site).sum()) for site in bounds.network.sites)
        alpha += sum(int(flags.sum()) for flags in optimised(bounds).values())
    assert alpha < crown


@pytest.mark.parametrize("options", [{"batch_size": 3}, {"dtype": torch.float64}])
def test_batches_and_precision_of_the_optimisation_matter_little(options: dict[str, object]):
    _, bounds = sample("residual")
    usual, other = optimised(bounds), optimised(bounds, **options)
    assert sum(int((usual[site] != other[site]).sum()) for site in usual) <= 1


def test_each_image_is_counted_by_itself():
    _, bounds = sample("residual")
    whole, last = optimised(bounds), optimised(bounds.select(torch.tensor([2])))
    assert all(torch.equal(whole[site][2:], last[site]) for site in whole)
