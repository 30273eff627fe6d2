"""Random small networks of every supported kind, for hypothesis."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from abcrown_graft.geometry.box import Box
from abcrown_graft.models.definitions import MODEL_DEFINITIONS
from abcrown_graft.network.graph import Network
from abcrown_graft.network.trace import from_module
from abcrown_graft.nn.surgery import graft


def model_names() -> tuple[str, ...]:
    """The names of all registered definitions."""
    importlib.import_module("abcrown_graft.model_defs")
    return MODEL_DEFINITIONS.names()


@dataclass(frozen=True, eq=False)
class Sample:
    """A random network, the same as a module and as a graph, and a batch of boxes for its input."""

    module: nn.Module
    network: Network
    box: Box

    def __repr__(self) -> str:
        return f"Sample({self.module}, input {self.network.input.shape}, {len(self.box)} boxes)"


class Residual(nn.Module):
    """`relu(body(x) + shortcut(x))`; the shortcut is the identity or a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.relu = nn.ReLU()
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.shortcut = nn.Identity() if (inputs, stride) == (outputs, 1) else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.second(self.relu(self.first(x))) + self.shortcut(x))


class Branches(nn.Module):
    """Two convolutions side by side, concatenated; the second one is activated."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.left = nn.Conv2d(inputs, 1, 3, 1, 1, bias=False)
        self.right = nn.Conv2d(inputs, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.left(x), functional.relu(self.right(x))], dim=1)


class Rescaled(nn.Module):
    """Constants of all broadcasting kinds; some foldable, some not."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("per_channel", torch.randn(shape[0], *(1,) * (len(shape) - 1)))
        self.register_buffer("per_neuron", torch.randn(shape))

    def forward(self, x: Tensor) -> Tensor:
        return 1.5 - (self.per_channel * x - 0.3) / 2 + self.per_neuron


class Reused(nn.Module):
    """One ReLU module called twice."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, 2, 3, 1, 1)
        self.second = nn.Conv2d(2, 2, 3, 1, 1)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.second(self.act(self.first(x))))


class Doubled(nn.Module):
    """`relu(x) + relu(x) - 1`: one tensor twice, and a node that two others read."""

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(x)
        return (y + y) + (-0.5 * x) - 1


def batch_norm(shape: tuple[int, ...]) -> nn.Module:
    """A batch normalisation with statistics and weights far from the initial ones."""
    layer = nn.BatchNorm2d(shape[0]) if len(shape) == 3 else nn.BatchNorm1d(shape[0])
    with torch.no_grad():
        for tensor in (layer.running_mean, layer.weight, layer.bias):
            tensor.normal_()
        layer.running_var.uniform_(0.2, 3)
    return layer


IMAGE_BLOCKS = {
    "conv": lambda s: nn.Sequential(nn.Conv2d(s[0], 3, 3, 1, 1), nn.ReLU()),
    "strided": lambda s: nn.Sequential(nn.Conv2d(s[0], 2, (3, 2), (2, 1), (1, 0)), nn.ReLU(inplace=True)),
    "dilated": lambda s: nn.Sequential(nn.Conv2d(s[0], 2, 2, padding=1, dilation=2), nn.LeakyReLU(0.2)),
    "grouped": lambda s: nn.Sequential(nn.Conv2d(s[0], 2 * s[0], 3, 2, 1, groups=s[0]), nn.ReLU()),
    "batch norm": lambda s: nn.Sequential(nn.Conv2d(s[0], 2, 3, 1, 1, bias=False), batch_norm((2, *s[1:])), nn.ReLU()),
    "loose batch norm": lambda s: nn.Sequential(batch_norm(s), nn.ReLU()),
    "pool": lambda s: nn.Sequential(nn.AvgPool2d(2, 1, 1), nn.Conv2d(s[0], 2, 2), nn.ReLU()),
    "zero pad": lambda s: nn.Sequential(nn.ZeroPad2d((1, 0, 0, 2)), nn.Conv2d(s[0], 2, 3), nn.ReLU()),
    "residual": lambda s: Residual(s[0], s[0], 1),
    "downsampling residual": lambda s: Residual(s[0], 2, 2),
    "branches": lambda s: Branches(s[0]),
    "rescaled": lambda s: nn.Sequential(Rescaled(s), nn.ReLU()),
    "reused": lambda s: Reused(s[0]),
    "doubled": lambda s: Doubled(),
}
FLAT_BLOCKS = {
    "linear": lambda s: nn.Sequential(nn.Linear(s[0], 6), nn.ReLU()),
    "without bias": lambda s: nn.Sequential(nn.Linear(s[0], 5, bias=False), nn.LeakyReLU(0.1)),
    "batch norm": lambda s: nn.Sequential(nn.Linear(s[0], 4), batch_norm((4,)), nn.ReLU()),
    "rescaled": lambda s: nn.Sequential(Rescaled(s), nn.ReLU()),
    "doubled": lambda s: Doubled(),
}


def enliven(layer: nn.Module) -> None:
    """Weights that keep the variance of signals, so that about half of the neurons are active."""
    if isinstance(layer, (nn.Conv2d, nn.Linear)):
        nn.init.kaiming_normal_(layer.weight)
        if layer.bias is not None:
            nn.init.normal_(layer.bias, std=0.3)


def assembled(blocks: list[str], input_shape: tuple[int, ...], outputs: int = 3) -> nn.Sequential:
    """The named blocks in a row while the image is two pixels wide, and a linear layer; float64, evaluation mode."""
    table = IMAGE_BLOCKS if len(input_shape) == 3 else FLAT_BLOCKS
    layers: list[nn.Module] = []
    shape = input_shape
    for name in blocks:
        if min(shape[1:], default=2) < 2:
            break
        layers.append(table[name](shape).eval())
        layers[-1].apply(enliven)
        with torch.no_grad():
            shape = tuple(layers[-1](torch.zeros(1, *shape)).shape[1:])
    features = torch.Size(shape).numel()
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, outputs)).double().eval()


def grafted(module: nn.Module, input_shape: tuple[int, ...], fraction: float) -> nn.Module:
    """`module` with a random share of its neurons linear, with random lines of both signs."""
    sites = from_module(module, input_shape).sites
    masks = {site: torch.rand(shape) < fraction for site, shape in sites.items()}
    slopes = {site: torch.empty(shape).uniform_(-0.5, 1) for site, shape in sites.items()}
    return graft(module, masks, slopes, {site: 0.3 * torch.randn(shape) for site, shape in sites.items()})


def random_box(shape: tuple[int, ...], batch: int, radius: float) -> Box:
    """Boxes of random centres; some sides are of zero length."""
    centre = torch.randn(batch, *shape, dtype=torch.float64)
    reach = radius * torch.rand_like(centre).sub(0.1).clamp(min=0)
    return Box(centre - reach, centre + reach)


@st.composite
def samples(draw: st.DrawFn, fractions: tuple[float, ...] = (0, 0.5, 1), batch: int = 2) -> Sample:
    """Networks of one to three blocks on images or vectors, in float64."""
    if draw(st.booleans()):
        shape: tuple[int, ...] = (draw(st.integers(1, 2)), draw(st.integers(4, 6)), draw(st.integers(4, 6)))
        names = IMAGE_BLOCKS
    else:
        shape, names = (draw(st.integers(1, 5)),), FLAT_BLOCKS
    blocks = draw(st.lists(st.sampled_from(list(names)), min_size=1, max_size=3))
    fraction = draw(st.sampled_from(fractions))
    radius = draw(st.sampled_from([0.01, 0.1, 1.0]))
    with torch.random.fork_rng():
        torch.manual_seed(draw(st.integers(0, 2**20)))
        module = assembled(blocks, shape)
        if fraction > 0:
            module = grafted(module, shape, fraction)
        return Sample(module, from_module(module, shape), random_box(shape, batch, radius))
