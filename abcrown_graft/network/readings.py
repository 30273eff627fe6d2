"""Whether two readings of a module are the same graph."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from abcrown_graft.network.graph import Network, Node


def first_difference(first: Network, second: Network) -> str | None:
    """Where two networks of one module differ, in words; None if they are the same."""
    for here, there in zip_longest(first.nodes, second.nodes):
        if here is None or there is None or not _same_place(here, there):
            known = here or there
            return f"{known.name!r} ({type(known.operator).__name__}) is another operator"
        for field, value in vars(here.operator).items():
            if not _equal(value, getattr(there.operator, field)):
                return f"the {field} of {here.name!r} ({type(here.operator).__name__}) has another value"
    return None


def _same_place(here: Node, there: Node) -> bool:
    kinds = type(here.operator) is type(there.operator)
    return kinds and (here.name, here.inputs, here.shape) == (there.name, there.inputs, there.shape)


def _equal(first: Any, second: Any) -> bool:
    """Number by number; NaN equals NaN, and is refused elsewhere."""
    if isinstance(first, Tensor):
        return torch.equal(first, second) or _equal_but_nan(first, second)
    return bool(first == second)


def _equal_but_nan(first: Tensor, second: Tensor) -> bool:
    missing = first.isnan()
    return torch.equal(missing, second.isnan()) and torch.equal(first[~missing], second[~missing])
