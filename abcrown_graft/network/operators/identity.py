"""Torch modules and calls that change nothing in evaluation mode; they are no operator at all."""

from __future__ import annotations

from torch import nn
from torch.nn import functional

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.network.operators.operator import Shape
from abcrown_graft.network.translation import Call, call_rule, module_rule


@module_rule(nn.Identity, nn.Dropout, nn.Dropout2d)
def _module(module: nn.Module, shape: Shape) -> None:
    return None


@call_rule("contiguous")
def _contiguous(call: Call) -> None:
    return None


@call_rule(functional.dropout)
def _dropout(call: Call) -> None:
    if call.argument(2, "training", True):
        raise UnsupportedError(f"{call.where} drops in evaluation mode too; pass training=self.training")
