"""A small ONNX network whose truth is known by hand, and VNN-LIB properties of it.

The network is `y_0 = |x_0| + |x_1|`, `y_1 = |x_0|`; the boxes are `[-1, 1]` in both inputs unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx_models import model_of, node, saved

OPEN_BOX = ((-1, 1), (-1, 1))
DECLARED = "".join(f"(declare-const {name} Real)\n" for name in ("X_0", "X_1", "Y_0", "Y_1"))

HOLDS, FAILS = "(assert (>= Y_0 2.5))", "(assert (>= Y_0 1.5))"
HARD = "(assert (>= Y_1 Y_0)) (assert (>= Y_0 0.5))"
"""Violated where x_1 = 0, which the middle of the box is not, for |x_0| >= 0.5."""


def norms(outputs: int = 2) -> onnx.ModelProto:
    """The network; with one output it has `y_0` alone."""
    first = np.array([[1, -1, 0, 0], [0, 0, 1, -1]], dtype=np.float32)
    last = np.array([[1, 1], [1, 1], [1, 0], [1, 0]], dtype=np.float32)[:, :outputs]
    nodes = (node("MatMul", "x first", "z"), node("Relu", "z", "r"), node("MatMul", "r last"))
    return model_of(*nodes, shape=(1, 2), output=(1, outputs), first=first, last=last)


def property_text(asserted: str, *boxes: Sequence[tuple[float | str, float | str]]) -> str:
    """VNN-LIB 1.0: some input of one of the boxes has outputs as asserted."""
    described = [
        "(and " + " ".join(f"(>= X_{i} {low}) (<= X_{i} {high})" for i, (low, high) in enumerate(box)) + ")"
        for box in boxes or (OPEN_BOX,)
    ]
    return f"{DECLARED}(assert (or {' '.join(described)}))\n{asserted}\n"


def benchmark(folder: Path, **properties: str) -> Path:
    """A folder with `onnx/norms.onnx`, a property file for each name, and `instances.csv` in that order, 20 s each."""
    for name in ("onnx", "vnnlib"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    saved(norms(), folder / "onnx", "norms.onnx")
    for name, text in properties.items():
        (folder / "vnnlib" / f"{name}.vnnlib").write_text(text)
    lines = [f"onnx/norms.onnx,vnnlib/{name}.vnnlib,20\n" for name in properties]
    (folder / "instances.csv").write_text("".join(lines))
    return folder
