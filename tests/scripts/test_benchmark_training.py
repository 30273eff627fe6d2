"""The two loops that the training benchmark compares do the same mathematics."""

from __future__ import annotations

import copy
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark" / "training.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    if not SCRIPT.exists():
        pytest.skip("scripts/benchmark is not part of this installation")
    spec = importlib.util.spec_from_file_location("benchmark_training", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["benchmark_training"] = module  # its data classes look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("channels_last", [False, True])
def test_both_loops_have_the_same_losses(benchmark: ModuleType, channels_last: bool) -> None:
    model, shape = benchmark._model("digits_cnn")
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(256, *shape, generator=generator)
    labels = torch.randint(0, 10, (256,), generator=generator)
    loops = {
        "plain": benchmark.plain_loop(copy.deepcopy(model), images, labels, 0.1, False),
        "ours": benchmark.our_loop(model, images, labels, benchmark._settings(0.1, "float32", channels_last), False),
    }
    timed = benchmark.measure({name: benchmark.clocked(loop) for name, loop in loops.items()}, 5)
    assert len(timed["plain"].losses) == len(timed["ours"].losses) == 6
    assert benchmark.difference(timed["plain"].losses, timed["ours"].losses) < 1e-4
    assert timed["plain"].losses[0] != timed["plain"].losses[5]


def test_losses_apart_are_noticed(benchmark: ModuleType) -> None:
    assert benchmark.difference([1.0, 2.0], [1.0, 2.1]) == pytest.approx(0.05)
