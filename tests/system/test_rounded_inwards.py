"""Networks that violate their property only where a number that defines it would be rounded inwards to.

None of them may be verified; and a counterexample is one of the exact property.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ways_in import WAYS, Way, configured, customized, plain, single

from abcrown_graft.engines.native.engine import prepare_native
from abcrown_graft.formats.counterexample import read_counterexample
from abcrown_graft.verdict import Verdict

RADIUS = "0.00784313725"
TRAP = """
import torch
from torch import nn

def model():
    first, last = nn.Linear(1, 1), nn.Linear(1, 2)
    first.weight.data, first.bias.data = torch.tensor([[{sign}]]), torch.tensor([{bias}])
    last.weight.data, last.bias.data = torch.tensor([[-{weight}], [0.0]]), torch.tensor([1.0, 0.0])
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), last)
"""


class Trap:
    """A network of one input that violates its property beyond `bias`, towards an exact end of the box."""

    def __init__(self, end: Fraction, before: Fraction) -> None:
        """The margin is negative at `end`, and positive where it was wrongly rounded to, `before`."""
        self.sign = 1 if end > before else -1
        bias = np.float32(float(before))
        while self.sign * (Fraction(float(bias)) - before) >= 0:
            bias = np.nextafter(bias, np.float32(-self.sign * np.inf))
        reach = [abs(value - Fraction(float(bias))) for value in (before, end)]
        self.bias, self.weight = float(bias), float(np.float32(float(2 / sum(reach))))
        assert self.margin(before) > 0 > self.margin(end)

    def margin(self, x: Fraction) -> Fraction:
        return 1 - Fraction(self.weight) * max(self.sign * (x - Fraction(self.bias)), Fraction(0))

    @property
    def code(self) -> str:
        return TRAP.format(sign=float(self.sign), bias=-self.sign * self.bias, weight=self.weight)


def verdict(folder: Path, way: Way, trap: Trap, radius: str | None) -> Verdict:
    (result,) = prepare_native(configured(folder, way, trap.code, radius, outputs=2)).run()
    return result.verdict


def one_image(folder: Path, images: Any, **bounds: Any) -> Way:
    entries = {"X": images, "labels": np.zeros(1, np.int64), "num_classes": np.int64(2), **bounds}
    np.savez(folder / "own.npz", x=entries.pop("X"), y=entries.pop("labels"), **entries)
    return Way(str(folder / "own.npz"), folder, (1, 1, 1), [])


@pytest.mark.parametrize(
    ("image", "pixel", "outwards"),
    [
        (np.uint8(102), Fraction(102, 255), -1),  # the float32 nearest to k / 255 is never below it
        (np.float64(0.3), Fraction(0.3), -1),
        (np.float64(0.35), Fraction(0.35), 1),
    ],
)
def test_the_ball_is_that_of_the_images_own_numbers(
    tmp_path: Path, image: np.generic, pixel: Fraction, outwards: int
) -> None:
    room = outwards * Fraction("0.1")
    trap = Trap(pixel + room, single(pixel) + room)
    assert trap.sign == outwards
    way = one_image(tmp_path, np.full((1, 1, 1, 1), image))
    assert verdict(tmp_path, way, trap, "0.1") is not Verdict.VERIFIED
    (tmp_path / "out.txt").unlink()
    assert verdict(tmp_path, way, trap, "0.0999") is Verdict.VERIFIED, "the trap lies at the end of the box"


@pytest.mark.parametrize("kind", ["npz", "numpy", "torch"])
@pytest.mark.parametrize("outwards", [-1, 1])
def test_the_box_is_that_of_the_bounds_own_numbers(tmp_path: Path, kind: str, outwards: int) -> None:
    """0.7 in float64 is above its float32, and 0.6 below it."""
    ends = {"data_min": 0.6 if outwards < 0 else 0.625, "data_max": 0.7 if outwards > 0 else 0.6875}
    images: Any = np.full((1, 1, 1, 1), 0.65, np.float32)
    bounds: Any = {key: np.full((1, 1, 1, 1), value) for key, value in ends.items()}
    end = Fraction(ends["data_max" if outwards > 0 else "data_min"])
    trap = Trap(end, single(end))
    if kind == "npz":
        way = one_image(tmp_path, images, **bounds)
    else:
        entries: Any = {"X": images, "labels": np.zeros(1, np.int64), **bounds}
        if kind == "torch":
            entries = {key: torch.from_numpy(values) for key, values in entries.items()}
        way = Way(customized(tmp_path, f"{kind}_images", **entries), tmp_path, (1, 1, 1), [])
    (tmp_path / "net.py").write_text(trap.code, encoding="utf-8")
    assert verdict(tmp_path, way, trap, None) is not Verdict.VERIFIED


@pytest.mark.parametrize("name", ["MNIST", "numpy f8", "torch.float64", "npz u1"])
def test_counterexamples_are_within_the_radius_of_every_reading(tmp_path: Path, name: str) -> None:
    way = WAYS[name](tmp_path)
    net = plain(way).replace("nn.init.zeros_(last.weight)", "last.weight.data[:] = torch.eye(10)[:, 1:2]")
    total = float(sum(way.pixels) + len(way.pixels) * Fraction(RADIUS) / 2)  # reached halfway to the corner
    net = net.replace("torch.eye(10)[0]", f"{total!r} * torch.eye(10)[0]")
    config = configured(tmp_path, way, net, RADIUS)
    cex = tmp_path / "cex.txt"
    attack = {"attack.pgd_order": "before", "attack.pgd_early_stop": False, "general.save_adv_example": True}
    (result,) = prepare_native(config.replace(attack | {"attack.cex_path": str(cex)})).run()
    assert result.verdict is Verdict.FALSIFIED
    point = read_counterexample(cex.with_name(f"cex_{way.index}.txt"))[0]
    found = [Fraction(value) for value in point.float().tolist()]
    radius = Fraction(RADIUS)
    assert any(value != single(pixel) for value, pixel in zip(found, way.pixels, strict=True))
    for value, pixel in zip(found, way.pixels, strict=True):
        assert 0 <= value <= 1 and abs(value - pixel) <= radius and abs(value - single(pixel)) <= radius
