"""A forward pass that is no function of input and weights is refused by the name of what it does."""

from __future__ import annotations

import contextlib
import datetime
import os
import random
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.nn.sites import symbolic_trace

pytestmark = pytest.mark.usefixtures("one_thread")

CALLS = 0
SHARED = [0.0]


class Forward(nn.Module):
    """A module with a few things in it, of which `function(self, x)` is the forward pass."""

    def __init__(self, function: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("total", torch.zeros(4))
        self.register_buffer("weights", torch.ones(4))
        self.count, self.first, self.seen, self.box = 0, None, [], {"n": {"deep": 0}}
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def assigns_global(m: nn.Module, x: Tensor) -> Tensor:
    global CALLS
    CALLS += 1
    return m.fc(x) + CALLS


def counts(m: nn.Module, x: Tensor) -> Tensor:
    m.count += 1
    return m.fc(x)


def keeps_first(m: nn.Module, x: Tensor) -> Tensor:
    if m.first is None:
        m.first = x
    return m.fc(x) + m.first


def replaces_buffer(m: nn.Module, x: Tensor) -> Tensor:
    m.total = m.total + 1
    return m.fc(x) + m.total


def in_low_precision(m: nn.Module, x: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return m.fc(x)


@torch.autocast("cpu", torch.bfloat16)
def all_in_low_precision(m: nn.Module, x: Tensor) -> Tensor:
    return m.fc(x)


def nonlocal_counter() -> Callable[[nn.Module, Tensor], Tensor]:
    calls = 0

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return m.fc(x)

    return forward


def deep_counter(m: nn.Module, x: Tensor) -> Tensor:
    m.box["n"]["deep"] += 1
    return m.fc(x)


def reads_a_file(m: nn.Module, x: Tensor) -> Tensor:
    with open(os.devnull) as file:
        return x * len(file.read())


def bernoulli(m: nn.Module, x: Tensor) -> Tensor:
    return m.fc(x) * torch.bernoulli(m.weights * 0.5)


REFUSED = {
    "rand": (lambda m, x: x + torch.rand(4), "rand draws random numbers"),
    "randn": (lambda m, x: x + 1e-6 * torch.randn(4), "randn draws"),
    "randint": (lambda m, x: x + torch.randint(3, (4,)), "randint draws"),
    "randperm": (lambda m, x: x + torch.randperm(4), "randperm draws"),
    "rand_like": (lambda m, x: x + torch.rand_like(m.weights), "rand_like draws"),
    "bernoulli": (bernoulli, "bernoulli draws"),
    "multinomial": (lambda m, x: x + torch.multinomial(m.weights, 4), "multinomial draws"),
    "normal_": (lambda m, x: x + torch.zeros(4).normal_(), "normal_ draws"),
    "uniform_": (lambda m, x: x + torch.zeros(4).uniform_(), "uniform_ draws"),
    "distribution": (lambda m, x: x + torch.distributions.Normal(0.0, m.weights).sample(), "draws random numbers"),
    "generator": (lambda m, x: x + torch.rand(4, generator=torch.Generator()), "rand draws"),
    "dropped constant": (lambda m, x: x + functional.dropout(m.weights), "dropout .bernoulli_. draws random numbers"),
    "python's random": (lambda m, x: x + random.random(), "random.random draws"),
    "a generator of one's own": (lambda m, x: x + random.Random(0).gauss(0, 1), "random.*draws"),
    "numpy's random": (lambda m, x: x + float(np.random.rand()), "numpy.random draws"),
    "urandom": (lambda m, x: x + os.urandom(1)[0], "posix.urandom depends on the process|nt.urandom"),
    "empty": (lambda m, x: x + torch.empty(4), "empty makes a tensor of whatever is in memory"),
    "new_empty": (lambda m, x: x + m.weights.new_empty(4), "new_empty makes|empty makes"),
    "initial_seed": (lambda m, x: x + torch.initial_seed(), "initial_seed depends on the state"),
    "manual_seed": (lambda m, x: (torch.manual_seed(0), x)[1], "manual_seed depends on the state"),
    "time": (lambda m, x: x + time.time(), "time.time depends on the time"),
    "perf_counter": (lambda m, x: x + time.perf_counter(), "time.perf_counter depends"),
    "datetime": (lambda m, x: x + datetime.datetime.now().second, "datetime.now depends on the time"),
    "environ": (lambda m, x: x * float(os.environ.get("SCALE", 1)), "os.*depends on the process"),
    "getenv": (lambda m, x: x * float(os.getenv("SCALE", "1")), "os.getenv depends on the process"),
    "file": (reads_a_file, "open reads or writes a file"),
    "grad mode": (lambda m, x: x * 2 if torch.is_grad_enabled() else x, "is_grad_enabled depends on what torch is set"),
    "default dtype": (lambda m, x: x * torch.get_default_dtype().itemsize, "get_default_dtype depends on what torch"),
    "threads": (lambda m, x: x * torch.get_num_threads(), "get_num_threads depends"),
    "machine": (lambda m, x: x * torch.cuda.is_available(), "is_available depends"),
    "autocast": (in_low_precision, "autocast_mode.* changes the precision"),
    "decorated autocast": (all_in_low_precision, "autocast_mode.* changes the precision"),
    "global variable": (assigns_global, "assigns_global assigns the global variable 'CALLS'"),
    "nonlocal variable": (nonlocal_counter(), "assigns the variable 'calls' of the function around it"),
    "counter": (counts, "changes attribute 'count' of the model"),
    "first input": (keeps_first, "changes attribute 'first' of the model"),
    "list": (lambda m, x: (m.seen.append(1), m.fc(x))[1], "changes attribute 'seen'"),
    "dictionary": (deep_counter, "changes attribute 'box'"),
    "buffer": (lambda m, x: x + m.total.add_(1), "add_ changes the model's 'total'"),
    "buffer's data": (lambda m, x: x + m.total.data.mul_(2), "mul_ changes the model's 'total'"),
    "part of a buffer": (lambda m, x: x + m.total[:2].fill_(1).sum(), "fill_ changes the model's 'total'"),
    "buffer as out": (lambda m, x: x + torch.add(m.weights, 1, out=m.total), "add changes the model's 'total'"),
    "replaced buffer": (replaces_buffer, "changes attribute '_buffers' of the model"),
    "mode": (lambda m, x: (m.drop.train(), m.fc(x))[1], "changes attribute 'training' of submodule 'drop'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_function_of_input_and_weights_is_named(name: str) -> None:
    function, message = REFUSED[name]
    with pytest.raises(UnsupportedError, match=message) as caught:
        symbolic_trace(Forward(function).eval())
    assert "\n" not in str(caught.value)


INNOCENT = {
    "constants": lambda m, x: x + torch.ones(4) * 2 + torch.zeros(4).fill_(1) + torch.arange(4),
    "constants of the model": lambda m, x: m.fc(x) * m.weights + m.weights.sum(),
    "constants in place": lambda m, x: x + m.weights.clone().mul_(2),
    "reading containers": lambda m, x: m.fc(x) + m.box["n"]["deep"] + len(m.seen),
    "a global that is only read": lambda m, x: x + SHARED[0],
    "dropout in evaluation": lambda m, x: functional.dropout(m.drop(x), 0.5, m.training),
    "no_grad": lambda m, x: torch.no_grad()(lambda: m.fc(x))(),
    "a path": lambda m, x: x + len(os.path.join("a", "b")),
    "numbers of numpy": lambda m, x: x + float(np.sqrt(2.0)),
    "a lock": lambda m, x: x + len([threading.current_thread()]),
    "printing": lambda m, x: (print("forward"), x)[1],
    "modes that stay": lambda m, x: (m.drop.eval(), m.fc(x))[1],
    "contexts": lambda m, x: contextlib.nullcontext(m.fc(x)).__enter__(),
}


@pytest.mark.parametrize("name", INNOCENT)
def test_what_is_one_is_traced(name: str) -> None:
    module = Forward(INNOCENT[name]).eval()
    x = torch.rand(2, 4)
    assert torch.equal(symbolic_trace(module)(x), module(x))


def test_the_watch_ends_with_the_trace() -> None:
    with pytest.raises(UnsupportedError):
        symbolic_trace(Forward(REFUSED["rand"][0]))
    assert torch.rand(1) < 1 and time.time() > 0


def test_numbers_that_others_draw_are_not_disturbed() -> None:
    module = Forward(INNOCENT["constants"])
    torch.manual_seed(0)
    random.seed(0)
    expected = torch.rand(1), random.random()
    torch.manual_seed(0)
    random.seed(0)
    symbolic_trace(module)
    assert (torch.rand(1), random.random()) == expected
