"""Modes and gradient flags come back as they were, also after an error."""

from __future__ import annotations

import pytest
from torch import nn

from abcrown_graft.training.modes import evaluating, frozen, set_training


def mixed_model() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout())
    model.train()
    model[1].eval()
    return model


def modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


def test_evaluating_restores_every_module_for_itself() -> None:
    model = mixed_model()
    before = modes(model)
    with pytest.raises(KeyError), evaluating(model):
        assert not any(modes(model))
        raise KeyError
    assert modes(model) == before == [True, True, False, True]


def test_frozen_statistics_leave_only_batch_norms_in_eval_mode() -> None:
    model = mixed_model()
    set_training(model, frozen_statistics=False)
    assert all(modes(model))
    set_training(model, frozen_statistics=True)
    assert modes(model) == [True, True, False, True]


def test_frozen_restores_every_parameter_for_itself() -> None:
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    with pytest.raises(KeyError), frozen(layer.parameters()):
        assert not layer.weight.requires_grad
        raise KeyError
    assert layer.weight.requires_grad and not layer.bias.requires_grad
