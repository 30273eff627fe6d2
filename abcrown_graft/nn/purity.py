"""Whether a forward pass is a function of its input and the weights; what is not is refused by name.

Its operations are watched as torch runs them: those that draw random numbers (torch tags them), read memory that
nobody has written, or change the model's tensors. Its other calls are watched by `outside.py`, and what it leaves
changed in the modules is found by `state.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.nn.outside import Findings, watched_calls
from abcrown_graft.nn.state import first_change, state_of

UNWRITTEN = {
    *("empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"),
    *("resize", "resize_", "resize_as_"),
}
"""Operations whose result holds numbers that nobody has written."""

_ADVICE = "a network to be verified is a function of its input and its weights; compute constants in __init__"


class WatchedOperations(TorchDispatchMode):
    """Raises UnsupportedError at an operation whose result is no function of its arguments, or that changes the model.

    Attributes:
        where: the call that is being run, for messages; None while code runs that makes no node.
        in_torch: whether only torch's own code runs, which fills the memory that it asks for.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; torch would import its compiler, which takes seconds, to say so."""
        return False

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.where: str | None = None
        self.in_torch = False
        self._names = {
            tensor.untyped_storage()._cdata: name
            for name, tensor in (*model.named_parameters(), *model.named_buffers())
            if not is_lazy(tensor) and tensor.layout == torch.strided
        }

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        function = _python_function()
        operation = func.overloadpacket.__name__ if function is None else f"{function} ({func.overloadpacket.__name__})"
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise self._refused(f"{operation} draws random numbers (for dropout pass training=self.training)")
        if operation in UNWRITTEN and not self.in_torch:  # a Python function of torch's fills it
            raise self._refused(f"{operation} makes a tensor of whatever is in memory; use zeros")
        for tensor in _changed(func, args, kwargs or {}):
            name = self._names.get(tensor.untyped_storage()._cdata)
            if name is not None:
                raise self._refused(f"{operation} changes the model's {name!r}")
        return func(*args, **(kwargs or {}))

    def _refused(self, what: str) -> UnsupportedError:
        call = "" if self.where is None else f"{self.where}: "
        return UnsupportedError(f"{call}{what}; {_ADVICE}")


def _python_function() -> str | None:
    """The function of torch, written in Python, that the operation is part of; None if it is called directly."""
    frame, found = sys._getframe(2), None
    while frame is not None and _is_torch(str(frame.f_globals.get("__name__", ""))):
        found, frame = frame.f_code.co_name, frame.f_back
    return found


def _is_torch(module: str) -> bool:
    """Whether a module is of torch's library; `fx` only runs what others call."""
    return module.startswith("torch.") and not module.startswith("torch.fx.")


def _changed(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    """The tensors that an operation writes to, as its schema declares them."""
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[position] if position < len(args) else kwargs.get(argument.name)
            yield from (t for t in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(t, Tensor))


@contextmanager
def pure(model: nn.Module) -> Iterator[None]:
    """Watches the body, which runs the model's own code.

    Raises:
        UnsupportedError: it is no function of input and weights; the message names the call, or the attribute that
            it changes.
    """
    before, calls = state_of(model), Findings()
    try:
        with watched_calls(calls), WatchedOperations(model):
            yield
    finally:  # says more than what else may have gone wrong
        if calls.found:
            raise UnsupportedError(f"{calls.found[0]}; {_ADVICE}") from None
    changed = first_change(before, state_of(model))
    if changed is not None:
        raise UnsupportedError(f"the forward pass changes {changed}; {_ADVICE}")
