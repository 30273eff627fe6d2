"""Networks that torch.compile runs, as far as it can: it cannot differentiate twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from abcrown_graft.errors import ConfigError

_PLAIN = "_orig_mod"  # where torch keeps the module that was compiled


def compiled(model: nn.Module) -> nn.Module:
    """The same module, with the same parameters, compiled on its first call for each size of batch and mode."""
    learner = torch.compile(model, dynamic=False)
    assert isinstance(learner, nn.Module)  # torch's signature promises a function alone
    return learner


def uncompiled(model: nn.Module) -> nn.Module:
    """The module that `compiled` was given; any other module as it is."""
    return getattr(model, _PLAIN, model)


@contextmanager
def explained(key: str) -> Iterator[None]:
    """Says which option, `key`, to change where torch.compile fails inside (it needs a compiler, for one).

    Raises:
        ConfigError: in place of torch's error.
    """
    try:
        yield
    except RuntimeError as error:
        from torch._dynamo.exc import TorchDynamoException  # takes a second to import

        if not isinstance(error, TorchDynamoException):
            raise
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ConfigError(f"{key}: torch.compile failed ({reason[0]}); set it to false") from error
