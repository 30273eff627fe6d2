"""What the modules of a model hold, to tell whether a call of it changed something.

Attributes, parameters, buffers, modes and hooks are compared by identity, plain values and containers by value, down
through objects that hold attributes of their own. A tensor's numbers are not looked at: `purity.py` sees operations
that change them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence, Set
from types import FunctionType, ModuleType
from typing import Any

from torch import Tensor, nn

_EXACT = frozenset({type(None), bool, int, str, bytes})
_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_CONTAINERS = frozenset({dict, OrderedDict, list, tuple})
_OPAQUE = (Tensor, nn.Module, type, FunctionType, ModuleType)

TRACER_OWN = "_tensor_constant"
"""How the attributes begin in which the fx tracer keeps tensors that it meets."""

State = dict[tuple[str, str], object]
"""By name of a submodule and of its attribute, what compares equal as long as nothing changed."""


def state_of(model: nn.Module) -> State:
    """What every submodule holds now."""
    return {
        (name, attribute): _frozen(value, ())
        for name, module in model.named_modules()
        for attribute, value in vars(module).items()
        if not attribute.startswith(TRACER_OWN)
    }


def first_change(before: State, after: State) -> str | None:
    """The attribute that differs, in words, e.g. `attribute 'count' of submodule 'block.0'`; None if none does."""
    for key in sorted(before.keys() | after.keys()):
        if key not in before or key not in after or before[key] != after[key]:
            name, attribute = key
            return f"attribute {attribute!r} of " + (f"submodule {name!r}" if name else "the model")
    return None


class _Same:
    """Equal to nothing but the same object, which it keeps alive."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def _frozen(value: Any, above: tuple[int, ...]) -> object:
    """What equals the same of an unchanged value; `above` are the containers it lies in."""
    kind = type(value)
    if kind in _EXACT:
        return kind, value  # 1 is not True
    if isinstance(value, _PLAIN):
        return kind, repr(value)  # NaN is unchanged
    if isinstance(value, _OPAQUE) or id(value) in above:
        return _Same(value)
    if kind in _CONTAINERS and not value and not getattr(value, "__dict__", None):
        return _Same(value), ()  # most are: a module holds a dozen dictionaries of hooks
    above = (*above, id(value))
    inside: list[object] = []
    if isinstance(value, Mapping):
        inside = [(_frozen(key, above), _frozen(item, above)) for key, item in value.items()]
    elif isinstance(value, Set):
        return _Same(value), frozenset(_frozen(item, above) for item in value)
    elif isinstance(value, Sequence):
        inside = [_frozen(item, above) for item in value]
    if hasattr(value, "__dict__"):
        inside += [_frozen(vars(value), above)]
    return _Same(value), tuple(inside)
