"""The grafted activation that the benchmark gives α,β-CROWN, in an auto_LiRPA checkout that AUTO_LIRPA_HOME names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "scripts" / "benchmark"
HOME = os.environ.get("AUTO_LIRPA_HOME")
pytestmark = pytest.mark.skipif(not HOME, reason="AUTO_LIRPA_HOME names no auto_LiRPA checkout")

# A process of its own: auto_LiRPA's import warns, and its registry of operators is global.
BOUNDS = """
import json
import torch
from torch import nn
from abcrown_network import as_abcrown_network
from abcrown_graft.nn.activation import GraftedReLU
from abcrown_graft.engines.abcrown.rows import skip_grafted_rows
from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm

torch.set_num_threads(1)
torch.manual_seed(0)
shapes = [(4, 6, 6), (6, 3, 3), (12,)]
masks = [torch.rand(shape) < 0.5 for shape in shapes]
values = [(torch.randn(shape), torch.randn(shape)) for shape in shapes]
relus = [GraftedReLU(mask, *both) for mask, both in zip(masks, values)]
plain = nn.Sequential(
    nn.Conv2d(2, 4, 3, 1, 1), relus[0], nn.Conv2d(4, 6, 3, 2, 1), relus[1], nn.Flatten(), nn.Linear(54, 12), relus[2],
    nn.Linear(12, 3),
)
model = as_abcrown_network(plain)

x, epsilon = torch.rand(1, 2, 6, 6), 0.1
samples = x + epsilon * (2 * torch.rand(5000, 2, 6, 6) - 1)
corners = x + epsilon * torch.randn(5000, 2, 6, 6).sign()
outputs = plain(torch.cat([samples, corners]))
found = {}
for skip in (False, True):
    options = {"conv_mode": "patches", "optimize_bound_args": {"iteration": 20}}
    for name in ("sparse_intermediate_bounds", "sparse_conv_intermediate_bounds", "sparse_features_alpha",
                 "sparse_spec_alpha", "use_full_conv_alpha"):
        options[name] = True
    net = BoundedModule(model, torch.zeros_like(x), bound_opts=options)
    assert torch.allclose(net(x), plain(x), atol=1e-5)
    if skip:
        skip_grafted_rows(net)
    box = BoundedTensor(x, PerturbationLpNorm(norm=float("inf"), eps=epsilon))
    for method in ("IBP", "CROWN", "alpha-CROWN"):
        lower, upper = net.compute_bounds(x=(box,), method=method)
        assert (outputs >= lower - 1e-4).all() and (outputs <= upper + 1e-4).all(), (method, skip)
        found[f"{method} {skip}"] = lower[0].tolist() + upper[0].neg().tolist()
print(json.dumps(found))
"""


def test_bounds_hold_and_skipped_rows_change_none() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HOME), str(FOLDER)]), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", BOUNDS]
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout.splitlines()[-1])
    for method in ("IBP", "CROWN", "alpha-CROWN"):
        assert found[f"{method} True"] == pytest.approx(found[f"{method} False"], abs=2e-3), method
    assert all(a > b + 1e-3 for a, b in zip(found["CROWN True"], found["IBP True"], strict=True))
