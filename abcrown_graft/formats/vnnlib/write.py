"""Writing a property as VNN-LIB 1.0, in the forms that the competition's readers know."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np

from abcrown_graft.files import write_atomically
from abcrown_graft.formats.vnnlib.query import Clause


def robustness_clauses(label: int, outputs: int) -> tuple[Clause, ...]:
    """Unsafe if another class reaches the label's output: one clause `y_label - y_j <= 0` for each other j."""
    unit = np.eye(outputs)
    return tuple(Clause((unit[label] - unit[j])[None], np.zeros(1)) for j in range(outputs) if j != label)


def write_vnnlib(
    path: str | os.PathLike[str],
    lower: np.ndarray,
    upper: np.ndarray,
    unsafe: Sequence[Clause],
    comment: str = "",
) -> None:
    """Writes one query, atomically; compressed if the name ends in `.gz`. `read_vnnlib` gives equal arrays back.

    Numbers are written with all their digits, so that they mean the same to a reader that rounds to nearest, to
    one that rounds outwards, and to one that does not round.

    Args:
        path: missing folders are made.
        lower, upper: the box of inputs, any shape; numbered in row-major order.
        unsafe: the counterexamples' outputs, see `Clause`.
        comment: lines for the head of the file.

    Raises:
        ValueError: the box is empty or not finite, or VNN-LIB cannot express the clauses.
    """
    lower, upper = (np.asarray(bound, dtype=np.float64).ravel() for bound in (lower, upper))
    _check(lower, upper, unsafe)
    content = "\n".join(_lines(lower, upper, unsafe, comment)).encode() + b"\n"
    compress = os.fspath(path).endswith(".gz")
    write_atomically(Path(path), gzip.compress(content, mtime=0) if compress else content)


def _check(lower: np.ndarray, upper: np.ndarray, unsafe: Sequence[Clause]) -> None:
    if lower.shape != upper.shape or not lower.size:
        raise ValueError(f"lower has {lower.size} inputs, upper {upper.size}; both must have the same, at least one")
    if not (np.isfinite(lower).all() and np.isfinite(upper).all() and (lower <= upper).all()):
        raise ValueError("the bounds must be finite, and no lower bound above its upper bound")
    if not unsafe:
        raise ValueError("no clauses: nothing is unsafe, there is nothing to write")
    if len({clause.rows.shape[1] for clause in unsafe}) != 1:
        raise ValueError("the clauses differ in their number of outputs")
    for clause in unsafe:
        if not (np.isfinite(clause.rows).all() and np.isfinite(clause.offsets).all()):
            raise ValueError("the clauses must be finite")
        if not len(clause.rows) or not clause.rows.any(1).all():
            raise ValueError("a clause without literals, or a literal without outputs, cannot be written")


def _lines(lower: np.ndarray, upper: np.ndarray, unsafe: Sequence[Clause], comment: str) -> Iterator[str]:
    yield from (f"; {line}" for line in comment.splitlines())
    yield from (f"(declare-const X_{i} Real)" for i in range(len(lower)))
    yield from (f"(declare-const Y_{j} Real)" for j in range(unsafe[0].rows.shape[1]))
    for i, (low, high) in enumerate(zip(lower.tolist(), upper.tolist(), strict=True)):
        yield f"(assert (<= X_{i} {decimal(high)}))"
        yield f"(assert (>= X_{i} {decimal(low)}))"
    clauses = [[_literal(*pair) for pair in zip(c.rows.tolist(), c.offsets.tolist(), strict=True)] for c in unsafe]
    if len(clauses) == 1:
        yield from (f"(assert {literal})" for literal in clauses[0])
        return
    yield "(assert (or"
    yield from (f"    (and {' '.join(literals)})" for literals in clauses)
    yield "))"


def _literal(row: list[float], offset: float) -> str:
    """`row @ y + offset <= 0`, with as little arithmetic as it can be said."""
    factors = {f"Y_{j}": factor for j, factor in enumerate(row) if factor}
    bound = decimal(-offset)
    match list(factors.items()):
        case [(name, 1.0)]:
            return f"(<= {name} {bound})"
        case [(name, -1.0)]:
            return f"(>= {name} {decimal(offset)})"
        case [(less, 1.0), (more, -1.0)] | [(more, -1.0), (less, 1.0)] if not offset:
            return f"(<= {less} {more})"
    terms = [name if factor == 1 else f"(* {decimal(factor)} {name})" for name, factor in factors.items()]
    total = terms[0] if len(terms) == 1 else f"(+ {' '.join(terms)})"
    return f"(<= {total} {bound})"


def decimal(value: float) -> str:
    """All digits of a float, without an exponent: `0.1` is 0.1000000000000000055511151231257827..."""
    digits = format(Decimal(value or 0.0), "f")
    return digits if "." in digits else f"{digits}.0"
