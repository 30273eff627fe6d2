"""Instances in normalised pixels."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch

from abcrown_graft.config.load import load_config
from abcrown_graft.engines.abcrown.instances import instance_tensors, normalised, pixels
from abcrown_graft.geometry.robustness import Robustness
from abcrown_graft.verify.case import image_cases
from abcrown_graft.verify.problem import Batch, Subject, VerifySettings

MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]
CONFIG = load_config(None, {"data.mean": MEAN, "data.std": STD})


class Model(torch.nn.Module):
    """Four scores: the sum of the pixels times 1, 2, 3, 4."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1).sum(1, keepdim=True) * torch.arange(1.0, 5.0)


def batch(specify: Robustness, labels: tuple[int, ...] = (3, 0, 2)) -> Batch:
    torch.manual_seed(0)
    subject = Subject(Model(), SimpleNamespace(device="cpu"), SimpleNamespace())
    images = torch.rand(len(labels), 3, 4, 4)
    return Batch(subject, VerifySettings(), list(image_cases(images, torch.tensor(labels), [5, 1, 0], specify, 4)))


def test_the_box_holds_the_exact_one_and_hardly_more() -> None:
    made = batch(Robustness(2 / 255))
    tensors, box = instance_tensors(CONFIG, made), made.specification.box
    assert tensors["lower"].dtype == tensors["upper"].dtype == torch.float32
    means, stds = (torch.tensor(values).view(3, 1, 1).expand(3, 4, 4).flatten().tolist() for values in (MEAN, STD))
    for name, ends, outwards in (("lower", box.lower, -1), ("upper", box.upper, 1)):
        for found, pixels_of in zip(tensors[name].flatten(1).tolist(), ends.flatten(1).tolist(), strict=True):
            for value, pixel, mean, std in zip(found, pixels_of, means, stds, strict=True):
                excess = outwards * (Fraction(value) - (Fraction(pixel) - Fraction(mean)) / Fraction(std))
                assert 0 <= excess <= 5e-7


def test_the_radius_is_one_of_pixels_in_every_channel() -> None:
    tensors = instance_tensors(CONFIG, batch(Robustness(0.01)))
    inner = tensors["images"][:, :, 1:3, 1:3]
    assert inner.shape == (3, 3, 2, 2)
    width = (tensors["upper"] - tensors["lower"]).amax((0, 2, 3)) / 2
    assert width.tolist() == pytest.approx([0.01 / std for std in STD], rel=1e-5)


def test_pixels_stay_between_zero_and_one() -> None:
    tensors = instance_tensors(CONFIG, batch(Robustness(0.9)))
    back = pixels(CONFIG, tensors["lower"]), pixels(CONFIG, tensors["upper"])
    assert back[0].min() > -1e-6 and back[1].max() < 1 + 1e-6


def test_given_bounds_are_those_of_the_image() -> None:
    given = torch.rand(6, 3, 4, 4, dtype=torch.float64) / 2
    tensors = instance_tensors(CONFIG, batch(Robustness(None, lower=given, upper=given + 0.25)))
    assert torch.allclose(pixels(CONFIG, tensors["lower"]), given[[5, 1, 0]], atol=1e-6)
    assert torch.allclose(pixels(CONFIG, tensors["upper"]), given[[5, 1, 0]] + 0.25, atol=1e-6)


def test_runner_up_and_targets_are_those_of_the_image() -> None:
    specify = Robustness(0.1, "specify-target", targets=torch.tensor([1, 3, 9, 9, 9, 2]))
    config = CONFIG.replace({"specification.robustness_type": "specify-target"})
    tensors = instance_tensors(config, batch(specify, (3, 0, 3)))
    assert tensors["targets"].tolist() == [2, 3, 1]
    assert tensors["runnerup"].tolist() == [2, 3, 2], "class 3 has the largest score, then class 2"
    assert "targets" not in instance_tensors(CONFIG, batch(Robustness(0.1)))


def test_normalising_is_undone() -> None:
    values = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    assert torch.allclose(pixels(CONFIG, normalised(CONFIG, values)), values, atol=1e-12)
    assert torch.equal(normalised(load_config(None), values), values)
