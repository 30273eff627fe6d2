"""Boxes in the units of normalised inputs hold every normalised pixel, and hardly more."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from hypothesis import given
from hypothesis import strategies as st

from abcrown_graft.formats.vnnlib.normalize import normalized_box
from abcrown_graft.geometry.box import Box

PIXELS = st.floats(0, 1)
MEANS = st.floats(-1, 1, width=32)
DEVIATIONS = st.floats(2**-10, 4, width=32)


def single(value: float) -> torch.Tensor:
    return torch.tensor([[value]], dtype=torch.float64)


@given(lower=PIXELS, width=PIXELS, mean=MEANS, std=DEVIATIONS)
def test_the_bounds_are_the_nearest_numbers_outside(lower: float, width: float, mean: float, std: float) -> None:
    upper = lower + width
    box = normalized_box(Box(single(lower), single(upper)), torch.tensor(mean), torch.tensor(std))
    for bound, pixel, outwards in ((box.lower, lower, -1), (box.upper, upper, 1)):
        exact, found = (Fraction(pixel) - Fraction(mean)) / Fraction(std), float(bound)
        assert outwards * (Fraction(found) - exact) >= 0
        inwards = math.nextafter(found, -outwards * math.inf)
        assert outwards * (Fraction(inwards) - exact) < 0


def test_each_channel_has_its_own_mean_and_deviation() -> None:
    box = Box(torch.zeros(2, 2, 1, 3, dtype=torch.float64), torch.ones(2, 2, 1, 3, dtype=torch.float64))
    mean, std = torch.tensor([0.5, 0.25]).view(2, 1, 1), torch.tensor([0.5, 0.125]).view(2, 1, 1)
    found = normalized_box(box, mean, std)
    assert found.lower.shape == found.upper.shape == (2, 2, 1, 3)
    assert found.lower[:, 0].unique().tolist() == [-1.0] and found.upper[:, 0].unique().tolist() == [1.0]
    assert found.lower[:, 1].unique().tolist() == [-2.0] and found.upper[:, 1].unique().tolist() == [6.0]


def test_without_normalisation_the_box_stays() -> None:
    box = Box(single(0.1), single(0.3))
    found = normalized_box(box, torch.tensor(0.0), torch.tensor(1.0))
    assert torch.equal(found.lower, box.lower) and torch.equal(found.upper, box.upper)
