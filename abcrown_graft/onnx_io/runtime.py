"""The comparison of a network that was read with onnxruntime, the independent judge of what a file means."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from abcrown_graft.bounds.box import Box
from abcrown_graft.errors import ModelError, UnsupportedError
from abcrown_graft.network.forward import evaluate
from abcrown_graft.onnx_io.model_file import GZIP_MAGIC, first_line, read_bytes
from abcrown_graft.onnx_io.reader import OnnxNetwork, numpy_dtype

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
"""Relative to the largest output, or absolute below one."""
FATAL_ONLY = 4


def check_against_onnxruntime(
    network: OnnxNetwork, path: str | os.PathLike[str], box: Box, n: int = 8, tolerance: float | None = None
) -> float:
    """Compares a network with its file at random points; the largest relative difference.

    Args:
        network: from `read_onnx(path)`.
        path: of the file.
        box: of inputs, `(batch, *network input shape)`; each of its boxes gets n points.
        n: number of points.
        tolerance: None for that of the file's precision in `TOLERANCE`.

    Raises:
        UnsupportedError: onnxruntime is not installed.
        ModelError: onnxruntime refuses the file, an output is not finite, or outputs differ.
    """
    tolerance = TOLERANCE[network.dtype] if tolerance is None else tolerance
    points = _random_points(box, n).to(network.dtype)
    theirs = run_onnxruntime(network, path, points)
    ours = evaluate(network.network, points.to(network.network.dtype)).double()
    if not (ours.isfinite().all() and theirs.isfinite().all()):
        raise ModelError(f"{path}: an output is NaN or infinite at a point of the box")
    scale = theirs.abs().amax(1, keepdim=True).clamp(min=1)
    worst = float(((ours - theirs).abs() / scale).max())
    if not worst <= tolerance:
        raise ModelError(f"{path}: outputs differ from onnxruntime's by {worst:.3g}, more than {tolerance:g}")
    return worst


def run_onnxruntime(network: OnnxNetwork, path: str | os.PathLike[str], points: Tensor) -> Tensor:
    """The file's outputs `(n, outputs)` in float64 at points `(n, *network input shape)`, one by one.

    Raises:
        UnsupportedError: onnxruntime is not installed.
        ModelError: it refuses the file.
    """
    dtype = numpy_dtype(network.dtype)
    fed = points.cpu().numpy().astype(dtype).reshape(len(points), *network.input_shape)
    try:
        session = _session(Path(path))
        found = [session.run([network.output_name], {network.input_name: point})[0] for point in fed]
    except UnsupportedError:
        raise
    except Exception as error:  # onnxruntime's errors share no other base
        raise ModelError(f"{path}: onnxruntime cannot run it: {first_line(error)}") from None
    return torch.from_numpy(np.stack(found).reshape(len(points), -1).astype(np.float64))


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
    with path.open("rb") as file:
        compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    source = read_bytes(path) if compressed else str(path)  # from a path, external data are found
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _random_points(box: Box, n: int) -> Tensor:
    """`(batch * n, *shape)`."""
    generator = torch.Generator().manual_seed(0)
    lower, upper = (bound.double().cpu().repeat_interleave(n, dim=0) for bound in (box.lower, box.upper))
    return lower + torch.rand(lower.shape, generator=generator, dtype=torch.float64) * (upper - lower)
