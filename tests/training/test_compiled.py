"""Training through torch.compile; with a back end of torch that needs no compiler."""

from __future__ import annotations

import copy
import dataclasses
from functools import partial

import pytest
import torch
from torch import Tensor

from abcrown_graft.errors import ConfigError
from abcrown_graft.nn.surgery import graft
from abcrown_graft.training.compiled import compiled, explained, uncompiled
from abcrown_graft.training.method import METHODS
from abcrown_graft.training.settings import TrainSettings, TuneSettings
from abcrown_graft.training.train import train
from abcrown_graft.training.tune import tune

SETTINGS = TrainSettings(
    epochs=2, batch_size=16, lr=0.05, momentum=0.9, weight_decay=5e-4, epsilon=0.05, validation=10, compile=True
)
TUNING = TuneSettings(
    epochs=1, batch_size=16, lr=0.05, momentum=0.9, weight_decay=5e-4, epsilon=0.05, validation=10, slope_lr=0.1,
    compile=True,
)  # fmt: skip


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Batch sizes for which a graph was compiled."""
    sizes: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]):
        sizes.append(next(len(tensor) for tensor in inputs if tuple(tensor.shape[1:]) == (2, 5, 5)))
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    return sizes


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(50, 2, 5, 5, generator=generator) * 0.5, torch.arange(50) % 2
    images[labels == 1, :, 3:] += 0.5
    return images, labels


@pytest.mark.parametrize("method", ["fat", "pgd", "trades"])
def test_losses_are_those_of_the_plain_run(model, data, calls, method: str):
    plain = copy.deepcopy(model)
    settings = dataclasses.replace(SETTINGS, method=METHODS[method]())
    found = train(model, *data, settings)
    expected = train(plain, *data, dataclasses.replace(settings, compile=False))
    assert [record.loss for record in found.history] == pytest.approx([r.loss for r in expected.history], rel=1e-4)
    assert found.state.keys() == expected.state.keys()
    assert set(calls) == {16, 8}


def test_tuning_is_compiled_too(model, data, calls):
    grafted = graft(model, {"2": torch.rand(4, 3, 3) < 0.5})
    plain = copy.deepcopy(grafted)
    found = tune(grafted, *data, TUNING)
    expected = tune(plain, *data, dataclasses.replace(TUNING, compile=False))
    assert found.history[0].loss == pytest.approx(expected.history[0].loss, rel=1e-4)
    torch.testing.assert_close(grafted.get_submodule("2").slope, plain.get_submodule("2").slope)
    assert calls


def test_what_was_compiled_is_found_again(model):
    assert uncompiled(compiled(model)) is model and uncompiled(model) is model


def test_a_failing_compiler_is_named(model, data, monkeypatch):
    def broken(graph, inputs):
        raise FileNotFoundError("no compiler here")

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=broken))
    with pytest.raises(ConfigError, match=r"^train\.compile: torch\.compile failed \(.*\); set it to false"):
        train(model, *data, SETTINGS)
    with pytest.raises(ConfigError, match=r"^train\.compile: torch\.compile failed \(.*\); set it to false"):
        tune(graft(model, {"2": torch.ones(4, 3, 3, dtype=torch.bool)}), *data, TUNING)


def test_other_errors_are_left_alone():
    error = RuntimeError("of something else")
    with pytest.raises(RuntimeError) as caught, explained("train.compile"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize("method", ["ibp", "crown-ibp"])
def test_certified_methods_refuse_it(method: str):
    with pytest.raises(ConfigError, match=f"train.compile: true: is not supported with train.method {method};"):
        dataclasses.replace(SETTINGS, method=METHODS[method]())
