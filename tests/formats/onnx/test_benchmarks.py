"""Every network of VNN-COMP's benchmarks: read, equal to onnxruntime, and inside its bounds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from onnx_models import box_around
from oracles import assert_sound, random_points

from abcrown_graft.bounds.propagate import bound_network
from abcrown_graft.formats.onnx.reader import read_onnx
from abcrown_graft.formats.onnx.runtime import check_against_onnxruntime

pytestmark = pytest.mark.usefixtures("one_thread")

BENCHMARKS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "benchmarks"
FILES = sorted(BENCHMARKS.glob("*/onnx/*.onnx"))


@pytest.mark.skipif(not FILES, reason="the benchmarks are not at ../shared")
class TestBenchmarks:
    @pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
    def test_agrees_with_onnxruntime(self, path: Path):
        pytest.importorskip("onnxruntime")
        found = read_onnx(path)
        assert check_against_onnxruntime(found, path, box_around(found, radius=0.5), n=4) < 1e-5

    @pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
    def test_bounds_hold_at_random_points(self, path: Path):
        found = read_onnx(path)
        box = box_around(found, batch=1, radius=2 / 255)
        single = bound_network(found.network.to(dtype=torch.float32), box.to(dtype=torch.float32), "crown")
        assert_sound(single, random_points(box, 50), tolerance=1e-4)
