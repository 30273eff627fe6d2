"""Fingerprints: structure and weights apart."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from abcrown_graft.network.fingerprint import architecture_fingerprint, weights_fingerprint
from abcrown_graft.network.trace import from_module
from abcrown_graft.nn.surgery import graft

pytestmark = pytest.mark.usefixtures("one_thread")


def small(**changes: int) -> nn.Module:
    """A small convolutional network; `changes` alter one setting of it."""
    setting = {"stride": 1, "padding": 1, "hidden": 4} | changes
    side = (4 + 2 * setting["padding"] - 3) // setting["stride"] + 1
    convolution = [nn.Conv2d(1, 2, 3, setting["stride"], setting["padding"]), nn.BatchNorm2d(2), nn.ReLU()]
    hidden = [nn.Flatten(), nn.Linear(2 * side * side, setting["hidden"]), nn.ReLU()]
    return nn.Sequential(*convolution, *hidden, nn.Linear(setting["hidden"], 2))


def architecture(module: nn.Module) -> str:
    return architecture_fingerprint(from_module(module, (1, 4, 4)))


def weights(module: nn.Module) -> str:
    return weights_fingerprint(from_module(module, (1, 4, 4)))


def masks(module: nn.Module) -> dict[str, torch.Tensor]:
    sites = from_module(module, (1, 4, 4)).sites
    return {site: torch.rand(shape) < 0.5 for site, shape in sites.items()}


def test_retrained_copies_have_one_architecture_and_other_weights():
    first, second = small(), small()
    assert architecture(first) == architecture(second)
    assert weights(first) != weights(second)


def test_grafted_copies_have_the_architecture_of_the_plain_network():
    module = small()
    copy = graft(module, masks(module))
    assert architecture(copy) == architecture(module)
    assert weights(copy) != weights(module)


@pytest.mark.parametrize("change", [{"stride": 2}, {"padding": 0}, {"hidden": 5}], ids=str)
def test_another_setting_is_another_architecture(change: dict[str, int]):
    assert architecture(small(**change)) != architecture(small())


def test_another_activation_wiring_or_site_name_is_another_architecture():
    plain = architecture_fingerprint(from_module(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)), (2,)))
    leaky = nn.Sequential(nn.Linear(2, 2), nn.LeakyReLU(0.1), nn.Linear(2, 2))
    leakier = nn.Sequential(nn.Linear(2, 2), nn.LeakyReLU(0.2), nn.Linear(2, 2))
    moved = nn.Sequential(nn.Identity(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    assert len({plain, *(architecture_fingerprint(from_module(m, (2,))) for m in (leaky, leakier, moved))}) == 4


def test_wiring_counts():
    class Chain(nn.Module):
        def __init__(self, skip: bool) -> None:
            super().__init__()
            self.skip, self.a, self.b = skip, nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.a(x)
            return self.b(y) + (x if self.skip else y)

    first, second = (architecture_fingerprint(from_module(Chain(skip), (2,))) for skip in (True, False))
    assert first != second


def test_one_bit_changes_the_weights_hash_and_nothing_else():
    module = small()
    before = architecture(module), weights(module)
    assert before == (architecture(module), weights(module))
    with torch.no_grad():
        bias = module[-1].bias
        bias[0] = torch.nextafter(bias[0], bias[0] + 1)
    assert architecture(module) == before[0]
    assert weights(module) != before[1]


def test_signs_of_zero_masks_and_precision_count():
    module = small()
    mask = masks(module)
    inverse = {site: ~m for site, m in mask.items()}
    variants = [graft(module, mask, 0.0), graft(module, mask, -0.0), graft(module, inverse, 0.0)]
    assert len({weights(m) for m in (*variants, module)} | {weights(module.double())}) == 5


def test_fingerprints_are_sixteen_hex_digits():
    assert re.fullmatch("[0-9a-f]{16}", architecture(small()))
    assert re.fullmatch("[0-9a-f]{16}", weights(small()))
