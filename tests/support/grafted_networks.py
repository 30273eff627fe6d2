"""Small networks with random grafts for the tests of the plugin, and an oracle made of standard operators."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from abcrown_graft.network.trace import from_module
from abcrown_graft.nn.activation import GraftedReLU
from abcrown_graft.nn.surgery import graft, grafted_modules

CONV_SHAPE, FLAT_SHAPE = (2, 6, 6), (5,)


class Block(nn.Module):
    """`relu(body(x) + shortcut(x))` with a functional ReLU, a shared one, and batch normalisation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, 2, 1)
        self.norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, 2)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.relu(self.norm(self.first(x))))
        return functional.relu(y + self.shortcut(x))


def plain(kind: str) -> nn.Module:
    """ "conv", "residual" or "dense", with ReLUs; random weights."""
    if kind == "dense":
        return nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3)).eval()
    body = {
        "conv": lambda: nn.Sequential(nn.ReLU(), nn.Conv2d(4, 5, 3, 2, 1), nn.ReLU()),
        "residual": lambda: nn.Sequential(nn.ReLU(), Block(4, 5)),
    }[kind]()
    head = nn.Sequential(nn.Flatten(), nn.Linear(45, 10), nn.ReLU(), nn.Linear(10, 3))
    return nn.Sequential(nn.Conv2d(2, 4, 3, 1, 1), body, head).eval()


def grafted(kind: str, seed: int = 0, fraction: float = 0.5) -> nn.Module:
    """The same with a random share of the neurons grafted; lines rise, fall, or are flat."""
    torch.manual_seed(seed)
    module = plain(kind)
    shape = input_shape(kind)
    sites = from_module(module, shape).sites
    masks = {site: torch.rand(size) < fraction for site, size in sites.items()}
    slopes = {site: torch.randn(size).round(decimals=1) for site, size in sites.items()}
    return graft(module, masks, slopes, {site: torch.randn(size) for site, size in sites.items()}).eval()


def input_shape(kind: str) -> tuple[int, ...]:
    """Of one input."""
    return FLAT_SHAPE if kind == "dense" else CONV_SHAPE


class Decomposed(nn.Module):
    """The grafted activation in standard operators: `A z + B + relu(R z - m)`, exact everywhere."""

    def __init__(self, module: GraftedReLU) -> None:
        super().__init__()
        linear = module.mask.to(module.slope)
        self.register_buffer("slope", (linear * module.slope).detach())
        self.register_buffer("intercept", (linear * module.intercept).detach())
        self.register_buffer("kept", 1 - linear)
        self.register_buffer("shift", linear)

    def forward(self, z: Tensor) -> Tensor:
        return z * self.slope + self.intercept + torch.relu(z * self.kept - self.shift)


def decomposed(module: nn.Module) -> nn.Module:
    """A copy of a grafted network in standard operators."""
    copied = copy.deepcopy(module)
    for name, activation in grafted_modules(copied).items():
        parent, _, last = name.rpartition(".")
        setattr(copied.get_submodule(parent), last, Decomposed(activation))
    return copied.eval()
