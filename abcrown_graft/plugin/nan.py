"""Makes a bound that is NaN an error.

α,β-CROWN asks of each clause whether its bound is not above the threshold. NaN is not, so it counts as proved, and
pruning then puts an infinite bound in its place: afterwards nothing tells it from a proof.
"""

from __future__ import annotations

import functools
from typing import Any

from auto_LiRPA import BoundedModule
from torch import Tensor


def refuse_nan() -> None:
    """Has auto_LiRPA raise where a bound that it computes is NaN, in this process; any number of times.

    All bounds that α,β-CROWN decides by come from `BoundedModule.compute_bounds`: `init_alpha` (its first ones) and
    each step of the optimisation call it.

    Raises:
        FloatingPointError: later, from `compute_bounds`.
    """
    compute = BoundedModule.compute_bounds
    if getattr(compute, "refuses_nan", False):
        return

    @functools.wraps(compute)
    def checked(self: BoundedModule, *args: Any, **kwargs: Any) -> Any:
        found = compute(self, *args, **kwargs)
        ends = found[:2] if isinstance(found, (tuple, list)) else ()
        if any(isinstance(end, Tensor) and bool(end.isnan().any()) for end in ends):
            raise FloatingPointError("a bound of α,β-CROWN's is NaN: values of the network overflow its precision")
        return found

    checked.refuses_nan = True  # type: ignore[attr-defined]
    BoundedModule.compute_bounds = checked
