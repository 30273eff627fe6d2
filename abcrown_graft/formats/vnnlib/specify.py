"""From queries to what the native engine proves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from abcrown_graft.formats.vnnlib.query import Clause, Query
from abcrown_graft.geometry.box import Box
from abcrown_graft.geometry.specification import Specification


def to_specification(queries: Sequence[Query], shape: Sequence[int] | None = None) -> Specification:
    """A batch with one instance per query, in float64; the property holds if all of them do.

    A clause of a query is one of the specification: what is unsafe there must have a positive literal here.
    Unsafe whatever the outputs is a literal that is always zero, which no proof and every input satisfies.

    Args:
        queries: of one network, at least one.
        shape: of one input; None for a vector.

    Raises:
        ValueError: no queries (then there is nothing to prove), or another number of inputs than the shape has.
    """
    if not queries:
        raise ValueError("no queries: the property holds, there is nothing to prove")
    shape = (len(queries[0].lower),) if shape is None else tuple(shape)
    if any(len(query.lower) != np.prod(shape, dtype=int) for query in queries):
        raise ValueError(f"a query has {len(queries[0].lower)} inputs, the shape is {tuple(shape)}")
    return Specification.cat([_specification(query, shape) for query in queries])


def _specification(query: Query, shape: tuple[int, ...]) -> Specification:
    literals = max(1, *(len(clause.offsets) for clause in query.unsafe))
    padded = [_padded(clause, literals) for clause in query.unsafe]
    rows, offsets = (torch.from_numpy(np.stack(tensors)).unsqueeze(0) for tensors in zip(*padded, strict=True))
    lower, upper = (torch.from_numpy(np.array(bound)).view(1, *shape) for bound in (query.lower, query.upper))
    return Specification(Box(lower, upper), rows, offsets)


def _padded(clause: Clause, literals: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and offsets, the last literal repeated."""
    rows, offsets = clause.rows, clause.offsets
    if not len(offsets):
        rows, offsets = np.zeros((1, rows.shape[1])), np.zeros(1)
    repeat = [*range(len(offsets)), *[len(offsets) - 1] * (literals - len(offsets))]
    return rows[repeat], offsets[repeat]
