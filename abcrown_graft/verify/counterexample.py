"""Counterexamples as text, in the format of α,β-CROWN and VNN-COMP."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from abcrown_graft.files import write_atomically


def counterexample_text(point: Tensor, output: Tensor) -> str:
    """One `(X_i  value)` per input in row-major order, then one `(Y_j  value)` per output.

    The inputs are pixels in [0, 1]: normalisation belongs to the network here. Nine significant
    digits give a float32 back exactly.
    """
    values = [f"(X_{i}  {value:.9g})" for i, value in enumerate(point.flatten().tolist())]
    values += [f"(Y_{j}  {value:.9g})" for j, value in enumerate(output.flatten().tolist())]
    return "(" + "\n".join(values) + ")\n"


def counterexample_path(path: Path, index: int) -> Path:
    """Where instance `index` goes: `test_cex.txt` becomes `test_cex_7.txt`."""
    return path.with_name(f"{path.stem}_{index}{path.suffix}")


def save_counterexample(path: Path, index: int, point: Tensor, output: Tensor) -> Path:
    """Writes the file of one instance, atomically, and returns its path."""
    target = counterexample_path(path, index)
    write_atomically(target, counterexample_text(point, output).encode())
    return target
