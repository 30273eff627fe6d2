"""Counterexamples as text, in the format of α,β-CROWN and VNN-COMP."""

from __future__ import annotations

import glob
import math
import os
import re
from pathlib import Path

import torch
from torch import Tensor

from abcrown_graft.errors import FileFormatError
from abcrown_graft.files import Limit, read_text, write_atomically
from abcrown_graft.formats.vnnlib.expression import Expression, Group, Word, parse_expressions

LIMIT = Limit(2**28, "which no counterexample is")

_VARIABLE = re.compile(r"([XY])_(0|[1-9][0-9]*)")
_VALUE = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def counterexample_text(point: Tensor, output: Tensor) -> str:
    """One `(X_i  value)` per input in row-major order, then one `(Y_j  value)` per output.

    The inputs are the network's: where normalisation belongs to it, pixels in [0, 1]. Nine significant digits
    give a float32 back exactly, 17 a float64.
    """
    values = [
        f"({name}_{i}  {value})" for name, tensor in (("X", point), ("Y", output)) for i, value in _digits(tensor)
    ]
    return "(" + "\n".join(values) + ")\n"


def _digits(tensor: Tensor) -> list[tuple[int, str]]:
    precision = 17 if tensor.dtype == torch.float64 else 9
    return [(i, f"{value:.{precision}g}") for i, value in enumerate(tensor.flatten().tolist())]


def sat_text(point: Tensor, output: Tensor) -> str:
    """A falsified instance's result in the competition: `sat`, then the counterexample."""
    return f"sat\n{counterexample_text(point, output)}"


def counterexample_path(path: Path, index: int) -> Path:
    """Where instance `index` goes: `test_cex.txt` becomes `test_cex_7.txt`."""
    return path.with_name(f"{path.stem}_{index}{path.suffix}")


def saved_counterexamples(path: Path) -> list[Path]:
    """The files of all instances that are there."""
    found = path.parent.glob(f"{glob.escape(path.stem)}_*{glob.escape(path.suffix)}")
    return sorted(file for file in found if file.stem.removeprefix(f"{path.stem}_").isdigit())


def save_counterexample(path: Path, index: int, point: Tensor, output: Tensor) -> Path:
    """Writes the file of one instance, atomically, and returns its path."""
    target = counterexample_path(path, index)
    write_atomically(target, counterexample_text(point, output).encode())
    return target


def read_counterexample(path: str | os.PathLike[str]) -> tuple[Tensor, Tensor]:
    """Inputs `(inputs,)` and outputs `(outputs,)` of a file, in float64; a first line `sat` is allowed.

    Raises:
        FileFormatError: the file is missing, or anything but a complete list `((X_0 v) ... (Y_0 v) ...)` of
            finite values, each once.
    """
    try:
        return parse_counterexample(read_text(path, LIMIT))
    except FileFormatError as error:
        raise FileFormatError(f"{path}: not a counterexample ({error})") from None


def parse_counterexample(text: str) -> tuple[Tensor, Tensor]:
    """The same from a text.

    Raises:
        FileFormatError: see `read_counterexample`.
    """
    expressions = parse_expressions(text)
    if expressions and isinstance(expressions[0], Word) and expressions[0].text == "sat":
        del expressions[0]
    (whole,) = expressions if len(expressions) == 1 else (None,)
    if not isinstance(whole, Group):
        raise FileFormatError("expected one list of pairs, ((X_0 v) ... (Y_0 v) ...)")
    found: dict[str, dict[int, float]] = {"X": {}, "Y": {}}
    for pair in whole.items:
        kind, index, value = _pair(pair)
        if index in found[kind]:
            raise FileFormatError(f"line {pair.line}: {kind}_{index} stands twice")
        found[kind][index] = value
    return _vector("X", found["X"]), _vector("Y", found["Y"])


def _pair(pair: Expression) -> tuple[str, int, float]:
    items = pair.items if isinstance(pair, Group) else ()
    words = [item.text for item in items if isinstance(item, Word)]
    name = _VARIABLE.fullmatch(words[0]) if len(words) == 2 == len(items) else None
    if name is None or not _VALUE.fullmatch(words[1]) or not math.isfinite(float(words[1])):
        raise FileFormatError(f"line {pair.line}: expected a pair of name and finite number, as in (X_0 0.5)")
    return name[1], int(name[2]), float(words[1])


def _vector(kind: str, values: dict[int, float]) -> Tensor:
    missing = next(i for i in range(len(values) + 1) if i not in values)
    if missing != len(values) or not values:
        raise FileFormatError(f"{kind}_{missing} is missing")
    return torch.tensor([values[i] for i in range(len(values))], dtype=torch.float64)
