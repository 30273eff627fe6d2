"""How torch modules and traced calls become operators: tables of rules, filled by the files of the operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from abcrown_graft.errors import UnsupportedError

if TYPE_CHECKING:
    from abcrown_graft.network.operators.operator import Operator

Rule = TypeVar("Rule", bound=Callable[..., Any])
ModuleRule = Callable[[Any, tuple[int, ...]], "Operator | None"]
"""Takes a module and the shape of its output (no batch); returns its operator, None for the identity."""
CallRule = Callable[["Call"], "Operator | None"]
"""Returns the call's operator, None for the identity."""

MODULE_RULES: dict[type, ModuleRule] = {}
"""By type; subclasses do not inherit a rule."""
CALL_RULES: dict[Any, CallRule] = {}
"""By function, or by name for a tensor method."""


def module_rule(*kinds: type) -> Callable[[Rule], Rule]:
    """A decorator that files a rule under module types; see `ModuleRule`."""
    return _filed(MODULE_RULES, kinds)


def call_rule(*targets: Any) -> Callable[[Rule], Rule]:
    """A decorator that files a rule under functions and names of tensor methods; see `CallRule`."""
    return _filed(CALL_RULES, targets)


def _filed(table: dict[Any, Any], keys: Sequence[Any]) -> Callable[[Rule], Rule]:
    def file(rule: Rule) -> Rule:
        for key in keys:
            if key in table:
                raise ValueError(f"{getattr(key, '__name__', key)} is translated twice; remove one of the rules")
        table.update(dict.fromkeys(keys, rule))
        return rule

    return file


def pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    """A size given once for both axes, or for each."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


@dataclass(frozen=True, eq=False)
class Call:
    """A traced call, its arguments evaluated on zeros.

    Attributes:
        where: what it is, for messages.
        shape: of its output, without batch.
        args, kwargs: values of the arguments; those that depend on the network's input are samples.
        depends: by position, whether an argument depends on the network's input.
        mixed: whether a tensor among the arguments, at any depth, is a constant.
    """

    where: str
    shape: tuple[int, ...]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    depends: Sequence[bool]
    mixed: bool

    def argument(self, position: int, name: str, default: Any) -> Any:
        """A constant argument by position or keyword."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    def operands(self) -> tuple[bool, bool]:
        """Which of two positional operands depend on the input; at least one does."""
        if self.kwargs or len(self.args) != 2:
            raise UnsupportedError(f"{self.where}: keyword arguments; give two operands by position")
        return self.depends[0], self.depends[1]

    def constant(self, position: int, like: Tensor) -> Tensor:
        """A constant operand as a tensor without batch axis."""
        value = torch.as_tensor(self.args[position], dtype=like.dtype, device=like.device)
        if value.dim() == len(self.shape) + 1 and value.shape[0] == 1:
            value = value[0]
        if value.dim() > len(self.shape):
            raise UnsupportedError(f"{self.where}: a constant operand with a batch axis")
        return value
