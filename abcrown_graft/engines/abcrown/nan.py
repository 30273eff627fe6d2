"""Makes a bound that is NaN an error.

α,β-CROWN asks of each clause whether its bound is not above the threshold. NaN is not, so it counts as proved, and
pruning then puts an infinite bound in its place: afterwards nothing tells it from a proof.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from auto_LiRPA import BoundedModule
from beta_CROWN_solver import LiRPANet
from torch import Tensor

_REFINED = ("refined_lower_bounds", "refined_upper_bounds")
_MARK = "refuses_nan"  # attribute of a function that is guarded


def refuse_nan() -> None:
    """Has a bound that is NaN raise where α,β-CROWN gets its bounds, in this process; any number of times.

    Its bounds come from `BoundedModule.compute_bounds`: `init_alpha` (its first ones) and each step of the
    optimisation call it. Branch and bound starts from those of the incomplete stage, which MIP may have refined:
    `LiRPANet.build_with_refined_bounds` takes them, by default without computing any.

    Raises:
        FloatingPointError: later, from these two.
    """
    _guard(BoundedModule, "compute_bounds", _checked_bounds)
    _guard(LiRPANet, "build_with_refined_bounds", _checked_start)


def _guard(owner: type, name: str, checked: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    function = getattr(owner, name)
    if getattr(function, _MARK, False):
        return
    guarded = functools.wraps(function)(checked(function))
    setattr(guarded, _MARK, True)
    setattr(owner, name, guarded)


def _checked_bounds(compute: Callable[..., Any]) -> Callable[..., Any]:
    def checked(self: BoundedModule, *args: Any, **kwargs: Any) -> Any:
        found = compute(self, *args, **kwargs)
        _raise_if_nan(found[:2] if isinstance(found, (tuple, list)) else ())
        return found

    return checked


def _checked_start(build: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(build)

    def checked(self: LiRPANet, *args: Any, **kwargs: Any) -> Any:
        given = signature.bind(self, *args, **kwargs).arguments
        _raise_if_nan(bound for name in _REFINED for bound in (given.get(name) or {}).values())
        return build(self, *args, **kwargs)

    return checked


def _raise_if_nan(bounds: Iterable[Any]) -> None:
    if any(isinstance(bound, Tensor) and bool(bound.isnan().any()) for bound in bounds):
        raise FloatingPointError("a bound of α,β-CROWN's is NaN: values of the network overflow its precision")
