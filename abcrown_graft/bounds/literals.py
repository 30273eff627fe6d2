"""Bounds of a specification's literals, from the bounds of the network."""

from __future__ import annotations

import torch
from torch import Tensor

from abcrown_graft.bounds.propagate import NetworkBounds, margin_lower_bounds, margin_lower_lines
from abcrown_graft.geometry.rounding import next_below
from abcrown_graft.geometry.specification import Specification


def literal_lower_bounds(bounds: NetworkBounds, specification: Specification, method: str) -> Tensor:
    """Lower bounds of the literals, `(batch, clauses, literals)`; rigorous if `bounds` are.

    Args:
        bounds: of the specification's boxes.
        specification: in the precision of the bounds.
        method: see `margin_lower_bounds`.
    """
    return _with_offsets(margin_lower_bounds(bounds, specification.rows.flatten(1, 2), method), specification)


def literal_lower_lines(bounds: NetworkBounds, specification: Specification) -> tuple[Tensor, Tensor]:
    """Linear functions of the flattened input below the literals, and their minima.

    Args:
        bounds, specification: as in `literal_lower_bounds`.

    Returns:
        Coefficients `(batch, clauses, literals, inputs)` and lower bounds `(batch, clauses, literals)`; what they
        mean is said at `margin_lower_lines`.
    """
    coefficients, found = margin_lower_lines(bounds, specification.rows.flatten(1, 2))
    return coefficients.reshape(*specification.offsets.shape, -1), _with_offsets(found, specification)


def _with_offsets(found: Tensor, specification: Specification) -> Tensor:
    """Bounds `(batch, clauses * literals)` of linear functions as bounds of the literals."""
    found = found.view(specification.offsets.shape)
    return torch.where(specification.offsets == 0, found, next_below(found + specification.offsets))
