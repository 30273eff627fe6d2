"""A bound that is NaN is an error, never a proof."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import upstream
from command_line import run_main

from abcrown_graft.cli.abcrown import main
from abcrown_graft.formats.results import read_results

nan = upstream.imported("abcrown_graft.engines.abcrown.nan")
lirpa = upstream.imported("auto_LiRPA")
solver = upstream.imported("beta_CROWN_solver")

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("one_thread")]

# The first clause's bound overflows: α,β-CROWN prunes it as proved, and proves the second one. (0.7, 0.4) violates it.
OVERFLOW_FILE = """
import torch
from torch import nn

def network():
    made = nn.Sequential(nn.Flatten(), nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3))
    with torch.no_grad():
        made[1].weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [20.0, -20.0]]))
        made[1].bias.copy_(torch.tensor([-0.5, 0.5, -5.0]))
        made[3].weight.copy_(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 3e38], [-1.0, -1.0, 0.0]]))
        made[3].bias.copy_(torch.tensor([0.0, -1.0, -0.001]))
    return made

def images():
    x = torch.full((1, 1, 1, 2), 0.5)
    return {"X": x, "labels": torch.tensor([0]), "data_min": x - 0.1, "data_max": x + 0.2}
"""
OVERFLOW = """
general: {device: cpu}
model: {name: 'Customized("overflow.py", "network")', input_shape: [-1, 1, 1, 2]}
data: {dataset: 'Customized("overflow.py", "images")', num_outputs: 3, mean: 0.0, std: 1.0}
specification: {type: box}
attack: {pgd_order: skip}
bab: {timeout: 60}
"""


class Double(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard is there for one test."""
    monkeypatch.setattr(lirpa.BoundedModule, "compute_bounds", lirpa.BoundedModule.compute_bounds)
    monkeypatch.setattr(solver.LiRPANet, "build_with_refined_bounds", solver.LiRPANet.build_with_refined_bounds)
    nan.refuse_nan()


def bounds(lower: list[float], upper: list[float], **options: object) -> object:
    ends = torch.tensor([lower]), torch.tensor([upper])
    x = lirpa.BoundedTensor(torch.zeros(1, 2), lirpa.PerturbationLpNorm(x_L=ends[0], x_U=ends[1]))
    return lirpa.BoundedModule(Double(), torch.zeros(1, 2)).compute_bounds((x,), method="backward", **options)


def test_bounds_that_are_numbers_stay_as_they_are(guarded: None) -> None:
    lower, upper = bounds([-1.0, 0.0], [1.0, 2.0])
    assert lower.tolist() == [[-2, 0]] and upper.tolist() == [[2, 4]]
    assert bounds([-1.0, 0.0], [1.0, 2.0], bound_upper=False)[0].tolist() == [[-2, 0]]


@pytest.mark.parametrize("sides", [{}, {"bound_upper": False}, {"bound_lower": False}], ids=str)
def test_a_bound_that_is_nan_raises(guarded: None, sides: dict[str, bool]) -> None:
    with pytest.raises(FloatingPointError, match="a bound of α,β-CROWN's is NaN"):
        bounds([-1.0, torch.nan], [1.0, torch.nan], **sides)


def test_alpha_crown_is_guarded_before_its_first_bounds_are_used(guarded: None) -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    net = lirpa.BoundedModule(module, torch.zeros(1, 2))
    ends = torch.full((1, 2), -1.0), torch.tensor([[1.0, torch.nan]])
    x = lirpa.BoundedTensor(torch.zeros(1, 2), lirpa.PerturbationLpNorm(x_L=ends[0], x_U=ends[1]))
    with pytest.raises(FloatingPointError):
        net.init_alpha((x,), bound_upper=False)


def test_it_is_put_there_once(guarded: None) -> None:
    first = lirpa.BoundedModule.compute_bounds, solver.LiRPANet.build_with_refined_bounds
    nan.refuse_nan()
    assert (lirpa.BoundedModule.compute_bounds, solver.LiRPANet.build_with_refined_bounds) == first


@pytest.mark.parametrize("side", (0, 1), ids=("lower", "upper"))
@pytest.mark.parametrize("layer", ("hidden", "out"))
def test_branch_and_bound_starts_from_no_bound_that_is_nan(guarded: None, side: int, layer: str) -> None:
    net = object.__new__(solver.LiRPANet)  # it gets no further than its arguments
    ends = [{"hidden": torch.zeros(1, 3), "out": torch.full((1, 2), torch.inf)} for _ in range(2)]
    ends[side][layer][0, 1] = torch.nan
    with pytest.raises(FloatingPointError, match="a bound of α,β-CROWN's is NaN"):
        net.build_with_refined_bounds(None, None, None, None, *ends, None, None, refined_betas=None)


def test_a_proof_by_nan_is_an_error_of_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "overflow.py").write_text(OVERFLOW_FILE)
    (tmp_path / "overflow.yaml").write_text(OVERFLOW)
    for name, home in upstream.HOMES.items():
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    words = ("--engine", "abcrown", "--config", "overflow.yaml", "--results_file", "out.txt")
    finished = run_main(main, *words)
    (result,) = read_results("out.txt")[1]
    assert finished.code == 1 and str(result.verdict) == "error"
    assert result.reason.startswith("FloatingPointError: a bound of α,β-CROWN's is NaN")
