"""The comparison with onnxruntime sees a wrong network, and says so in one line."""

from __future__ import annotations

import builtins
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx_models import box_around, model_of, node, saved, weights

from abcrown_graft.errors import ModelError, UnsupportedError
from abcrown_graft.formats.onnx.reader import OnnxNetwork, read_onnx
from abcrown_graft.formats.onnx.runtime import OnnxruntimeModule, check_against_onnxruntime
from abcrown_graft.geometry.box import Box

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """`y = relu(x w)`."""
    return saved(model_of(node("MatMul", "x w", "z"), node("Relu", "z"), shape=(1, 4), w=weights(4, 3)), tmp_path)


def altered(found: OnnxNetwork, size: float) -> OnnxNetwork:
    """The network with all weights off by a relative error."""
    return dataclasses.replace(found, network=found.network.map_tensors(lambda t: t * (1 + size)))


class TestWithOnnxruntime:
    @pytest.fixture(autouse=True)
    def onnxruntime(self) -> None:
        pytest.importorskip("onnxruntime")

    def test_a_small_difference_passes_and_is_returned(self, path: Path):
        found = read_onnx(path)
        box = box_around(found)
        assert check_against_onnxruntime(found, path, box) < 1e-6
        assert 1e-6 < check_against_onnxruntime(altered(found, 1e-5), path, box) < 1e-4

    def test_a_larger_one_does_not(self, path: Path):
        found = altered(read_onnx(path), 1e-3)
        with pytest.raises(ModelError, match=r"model\.onnx: outputs differ from onnxruntime's by .* more than 0\.0001"):
            check_against_onnxruntime(found, path, box_around(found))
        assert check_against_onnxruntime(found, path, box_around(found), tolerance=0.1) > 1e-4

    def test_points_are_drawn_from_the_box(self, path: Path):
        """A network that is wrong for positive inputs only is right on a box of negative ones."""
        found = read_onnx(path)
        point = Box(torch.zeros(1, 4), torch.zeros(1, 4))
        assert check_against_onnxruntime(altered(found, 1), path, point) == 0
        with pytest.raises(ModelError, match="outputs differ"):
            check_against_onnxruntime(altered(found, 1), path, Box(point.lower, point.upper + 1))

    def test_an_output_that_overflows(self, tmp_path: Path):
        big = np.full((4, 3), 1e30, np.float32)
        model = model_of(node("MatMul", "x w", "z"), node("Mul", "z big"), shape=(1, 4), w=big, big=big[0])
        found = read_onnx(saved(model, tmp_path))
        with pytest.raises(ModelError, match="an output is NaN or infinite"):
            check_against_onnxruntime(found, tmp_path / "model.onnx", box_around(found))

    def test_a_file_that_onnxruntime_refuses(self, path: Path):
        found = read_onnx(path)
        path.write_bytes(b"something else")
        with pytest.raises(ModelError, match=r"model\.onnx: onnxruntime cannot run it: .*") as caught:
            check_against_onnxruntime(found, path, box_around(found))
        assert "\n" not in str(caught.value)

    def test_as_a_module_it_takes_any_shape_and_gives_float64(self, path: Path):
        found = read_onnx(path)
        module = OnnxruntimeModule(found, path)
        points = torch.rand(3, 2, 2, dtype=torch.float64)
        outputs = module(points)
        assert outputs.dtype == torch.float64 and outputs.shape == (3, 3)
        assert torch.equal(outputs, OnnxruntimeModule(found, path)(points.float().reshape(3, 4)))
        assert check_against_onnxruntime(found, path, box_around(found), module=module) < 1e-6

    def test_one_that_was_opened_is_asked_again(self, path: Path):
        found = read_onnx(path)
        module = OnnxruntimeModule(found, path)
        path.unlink()
        assert module(torch.eye(4)).shape == (4, 3)

    def test_points_of_another_size(self, path: Path):
        module = OnnxruntimeModule(read_onnx(path), path)
        with pytest.raises(ValueError, match="cannot reshape"):
            module(torch.rand(2, 3))

    def test_outputs_of_single_points(self, path: Path):
        found = read_onnx(path)
        points = torch.eye(4)
        expected = torch.from_numpy(weights(4, 3)).double().relu()
        assert torch.equal(OnnxruntimeModule(found, path)(points), expected)


def test_without_onnxruntime_it_is_named(path: Path, monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "onnxruntime":
            raise ImportError(name)
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    found = read_onnx(path)
    with pytest.raises(UnsupportedError, match="pip install onnxruntime"):
        check_against_onnxruntime(found, path, box_around(found))
