"""onnxruntime, the independent judge of what a file means: its values, and the comparison with what was read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from abcrown_graft.bounds.evaluation import unexplained, value_and_rounding
from abcrown_graft.errors import ModelError, UnsupportedError
from abcrown_graft.files import GZIP_MAGIC, check_regular
from abcrown_graft.formats.onnx.model_file import first_line, read_bytes
from abcrown_graft.formats.onnx.reader import OnnxNetwork, numpy_dtype
from abcrown_graft.geometry.box import Box
from abcrown_graft.network.forward import evaluate

FATAL_ONLY = 4


class OnnxruntimeModule(nn.Module):
    """A file as a torch module that onnxruntime evaluates, on the CPU; it has no gradients.

    Attributes:
        path: of the file.
        dtype: what the file computes in; points are rounded to it.
    """

    def __init__(self, network: OnnxNetwork, path: str | os.PathLike[str]) -> None:
        """Opens the file.

        Args:
            network: from `read_onnx(path)`.
            path: of the file.

        Raises:
            UnsupportedError: onnxruntime is not installed.
            ModelError: it refuses the file.
        """
        super().__init__()
        self.path, self.dtype = Path(path), network.dtype
        self._network = network
        try:
            self._session = _session(self.path)
        except UnsupportedError:
            raise
        except Exception as error:  # onnxruntime's errors share no other base
            raise self._refusal(error) from None

    def forward(self, x: Tensor) -> Tensor:
        """Outputs `(n, outputs)` in float64 at points `(n, ...)` of as many numbers as the input has, one by one.

        Raises:
            ModelError: onnxruntime fails.
        """
        dtype, names = numpy_dtype(self.dtype), ([self._network.output_name], self._network.input_name)
        fed = x.detach().cpu().numpy().astype(dtype).reshape(len(x), *self._network.input_shape)
        try:
            found = [self._session.run(names[0], {names[1]: point})[0] for point in fed]
        except Exception as error:
            raise self._refusal(error) from None
        outputs = np.array(found, dtype=np.float64).reshape(len(x), *self._network.network.output.shape)
        return torch.from_numpy(outputs).to(x.device)

    def _refusal(self, error: Exception) -> ModelError:
        return ModelError(f"{self.path}: onnxruntime cannot run it: {first_line(error)}")


def check_against_onnxruntime(
    network: OnnxNetwork,
    path: str | os.PathLike[str],
    box: Box,
    n: int = 8,
    module: OnnxruntimeModule | None = None,
) -> float:
    """Compares a network with its file at random points; the largest difference.

    They may differ by what rounding in the file's precision explains at that point, see `bounds/evaluation.py`.

    Args:
        network: from `read_onnx(path)`.
        path: of the file.
        box: of inputs, `(batch, *network input shape)`; each of its boxes gets n points.
        n: number of points.
        module: the file, if it is open already.

    Raises:
        UnsupportedError: onnxruntime is not installed.
        ModelError: onnxruntime refuses the file, an output is not finite, or outputs differ.
    """
    points = _random_points(box, n).to(network.dtype)
    theirs = (module or OnnxruntimeModule(network, path))(points).cpu()
    at = points.to(network.network.device, torch.float64)
    ours = evaluate(network.network.to(dtype=torch.float64), at).cpu()
    if not (ours.isfinite().all() and theirs.isfinite().all()):
        raise ModelError(f"{path}: an output is NaN or infinite at a point of the box")
    units = value_and_rounding(network.executed, points)[1].cpu()
    eps = torch.finfo(network.dtype).eps / 2 + torch.finfo(torch.float64).eps  # theirs, and ours
    allowed = units.view_as(ours) * eps + torch.finfo(torch.float32).tiny
    if (worst := unexplained(theirs, ours, allowed)) is not None:
        raise ModelError(
            f"{path}: outputs differ from onnxruntime's by {worst[0]:.3g}, and rounding explains {worst[1]:.3g}"
        )
    return float((ours - theirs).abs().max())


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise UnsupportedError(
            "comparing a network with its ONNX file needs onnxruntime; run `pip install onnxruntime`"
        ) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL_ONLY
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # as it is written
    options.intra_op_num_threads = 1
    check_regular(path)
    with path.open("rb") as file:
        compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    source = read_bytes(path) if compressed else str(path)  # from a path, external data are found
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _random_points(box: Box, n: int) -> Tensor:
    """`(batch * n, *shape)`."""
    generator = torch.Generator().manual_seed(0)
    lower, upper = (bound.double().cpu().repeat_interleave(n, dim=0) for bound in (box.lower, box.upper))
    return lower + torch.rand(lower.shape, generator=generator, dtype=torch.float64) * (upper - lower)
