from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from oracles import random_points, random_rows
from sample_networks import Sample, samples

from abcrown_graft.bounds.gradients import steepest
from abcrown_graft.bounds.propagate import bound_network
from abcrown_graft.geometry.box import Box
from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.trace import from_module

pytestmark = pytest.mark.usefixtures("one_thread")


@given(samples())
@settings(max_examples=40)
def test_no_derivative_in_the_box_is_steeper(sample: Sample):
    bounds = bound_network(sample.network, sample.box)
    rows = random_rows(bounds)
    most = steepest(bounds, rows)
    points = random_points(sample.box, 40).requires_grad_(True)
    outputs = evaluate(sample.network, points.flatten(0, 1)).unflatten(0, points.shape[:2])
    for k in range(rows.shape[1]):
        values = torch.einsum("bno,bo->bn", outputs, rows[:, k])
        (slope,) = torch.autograd.grad(values.sum(), points, retain_graph=True)
        assert (slope.abs() <= most[:, k : k + 1] * (1 + 1e-9) + 1e-12).all()


def test_affine_networks_are_as_steep_as_they_are():
    layer = torch.nn.Linear(3, 2).double().requires_grad_(False)
    box = Box(torch.zeros(1, 3).double(), torch.ones(1, 3).double())
    rows = torch.tensor([[[1.0, -2.0]]], dtype=torch.float64)
    bounds = bound_network(from_module(torch.nn.Sequential(layer), (3,)), box)
    torch.testing.assert_close(steepest(bounds, rows)[0], (rows[0] @ layer.weight).abs())
