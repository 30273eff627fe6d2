"""The measurements of the plugin: what does not need α,β-CROWN."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).parents[2] / "scripts" / "benchmark"


@pytest.fixture(scope="module")
def plugin() -> Iterator[ModuleType]:
    """`scripts/benchmark/plugin.py`, which imports what lies beside it."""
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module("plugin")
    sys.path.remove(str(FOLDER))


def test_lines_are_the_best_fit_with_a_clipped_slope(plugin: ModuleType) -> None:
    z = torch.tensor([[-1.0, -3.0, 1.0], [3.0, -1.0, 2.0]])
    slope, intercept = plugin._line(z)
    assert slope.tolist() == pytest.approx([0.75, 0.2, 0.8])  # through (-1, 0) and (3, 3); always off; always on
    assert intercept.tolist() == pytest.approx([0.75, 0.4, 0.3])


def test_margins_that_are_infinite_do_not_count(plugin: ModuleType) -> None:
    assert plugin._distance([1.0, math.inf, 2.0], [1.5, math.inf, 2.1]) == pytest.approx(0.5)
    assert plugin._distance([math.inf], [0.0]) == 0


@pytest.mark.parametrize("case", ["mnist", "resnet", "toy"])
def test_only_the_plugin_leaves_rows_out(plugin: ModuleType, case: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "pool.npz", labels=np.zeros(7, dtype=np.int64))
    for route in plugin.ROUTES:
        changes: dict[str, Any] = {"specification": {"epsilon": 0.004}}
        config = plugin.configuration(plugin.CASES[case], tmp_path, tmp_path / "pool.npz", route, changes)
        assert ("graph_optimizer" in config["general"]) is (route == "plugin")
        assert f'"{route}"' in config["model"]["name"]
        assert config["data"]["end"] == 7 and config["specification"]["epsilon"] == 0.004


def test_statuses_are_told_apart(plugin: ModuleType) -> None:
    found = [plugin._kind(status) for status in ("safe-mip", "unsafe-pgd", "unknown", "safe (timed out)")]
    assert found == ["verified", "falsified", "open", "verified"]
