"""What a module holds is compared down to the values in its containers."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from abcrown_graft.nn.state import first_change, state_of


@pytest.fixture
def model() -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    model.number, model.flag, model.nan, model.text = 1, True, float("nan"), "a"
    model.list, model.deque, model.dict, model.set = [1, [2]], deque([1]), {"a": [1]}, {1}
    model.object = SimpleNamespace(n=0)
    model.tensors = [torch.zeros(2)]
    model.itself = [model.list]
    model.list.append(model.itself)  # a cycle
    return model


CHANGES: dict[str, tuple[Callable[[nn.Module], object], str]] = {
    "number": (lambda m: setattr(m, "number", 2), "attribute 'number' of the model"),
    "kind of number": (lambda m: setattr(m, "flag", 1), "attribute 'flag' of the model"),
    "list": (lambda m: m.list[1].append(3), "'itself'"),
    "deque": (lambda m: m.deque.append(2), "'deque'"),
    "dictionary": (lambda m: m.dict["a"].append(2), "'dict'"),
    "key": (lambda m: m.dict.update(b=1), "'dict'"),
    "set": (lambda m: m.set.add(2), "'set'"),
    "object": (lambda m: setattr(m.object, "n", 1), "'object'"),
    "tensor": (lambda m: m.tensors.append(m.tensors.pop().clone()), "'tensors'"),
    "new attribute": (lambda m: setattr(m, "more", 1), "attribute 'more' of the model"),
    "attribute that is gone": (lambda m: delattr(m, "number"), "attribute 'number' of the model"),
    "mode": (lambda m: m[1].eval(), "attribute 'training' of submodule '1'"),
    "parameter": (lambda m: setattr(m[0], "bias", None), "attribute '_parameters' of submodule '0'"),
    "hook": (lambda m: m[0].register_forward_hook(lambda *_: None), "'_forward_hooks.*submodule '0'"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_named(model: nn.Module, name: str) -> None:
    change, words = CHANGES[name]
    before = state_of(model)
    change(model)
    found = first_change(before, state_of(model))
    assert found is not None
    assert re.search(words, found), found


def test_without_a_change_there_is_none(model: nn.Module) -> None:
    before = state_of(model)
    model(torch.rand(2, 2))
    assert first_change(before, state_of(model)) is None
