"""Small instances reduced to their cores, and what is true of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from sample_networks import Residual, enliven, grafted
from torch import Tensor, nn

from abcrown_graft.bounds.propagate import NetworkBounds, bound_network
from abcrown_graft.core.core import Core, evaluate_core
from abcrown_graft.core.dual import Duals, mix_of
from abcrown_graft.core.reduction import reduce_to_core
from abcrown_graft.geometry.box import Box
from abcrown_graft.network.forward import evaluate, node_values
from abcrown_graft.network.graph import Network
from abcrown_graft.network.trace import from_module

KINDS = ("dense", "conv", "residual", "leaky")


@dataclass(frozen=True, eq=False)
class Instance:
    """A network, one box, margins and their core."""

    module: nn.Module
    network: Network
    box: Box
    rows: Tensor
    bounds: NetworkBounds
    core: Core


@cache
def instance(kind: str, seed: int, fraction: float = 0.0, shift: float = 0.0) -> Instance:
    """At most 12 ReLUs and two margins, over a box of which only two sides have a length; not to be changed.

    Args:
        kind: one of `KINDS`.
        seed: of weights and box.
        fraction: share of grafted neurons.
        shift: added to every margin.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module, shape = _module(kind)
        module = module.apply(enliven).double().eval().requires_grad_(False)
        module[-1].bias[0] += shift
        if fraction:
            module = grafted(module, shape, fraction).double()
        centre = torch.randn(1, *shape, dtype=torch.float64)
        reach = torch.zeros(centre.numel(), dtype=torch.float64)
        reach[torch.randperm(len(reach))[:2]] = 0.2 + 1.3 * torch.rand(2, dtype=torch.float64)
    box = Box(centre - reach.view_as(centre), centre + reach.view_as(centre))
    network = from_module(module, shape)
    rows = torch.tensor([[1.0, -1.0, 0.0], [1.0, 0.0, -1.0]], dtype=torch.float64)
    bounds = bound_network(network, box, rigorous=True)
    return Instance(module, network, box, rows, bounds, reduce_to_core(bounds, rows))


def _module(kind: str) -> tuple[nn.Sequential, tuple[int, ...]]:
    if kind == "conv":
        return nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4), nn.ReLU(),
                             nn.Linear(4, 3)), (1, 3, 3)  # fmt: skip
    if kind == "residual":
        return nn.Sequential(Residual(1, 1, 1), nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)), (1, 2, 2)
    other = nn.LeakyReLU(0.3) if kind == "leaky" else nn.ReLU()
    return nn.Sequential(nn.Linear(3, 5), other, nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3), other,
                         nn.Linear(3, 3)), (3,)  # fmt: skip


def near(kind: str, seed: int, fraction: float, least: float) -> Instance:
    """An instance whose smallest margin is `least`, to within rounding."""
    return instance(kind, seed, fraction, least - _smallest_margin(kind, seed, fraction))


@cache
def _smallest_margin(kind: str, seed: int, fraction: float) -> float:
    found = instance(kind, seed, fraction)
    return float(exact_minima(found.network, found.box, found.rows).min())


def exact_minima(network: Network, box: Box, rows: Tensor) -> Tensor:
    """The minimum `(spec,)` of every margin over a box of two free sides: those at the corners of all linear regions.

    A convex polygon of the free sides on which all earlier neurons keep their sign is cut along the zero line
    of every neuron in turn; on it the next pre-activations are affine, so those at its corners say where.
    """
    free = (box.upper > box.lower).flatten().nonzero().flatten()
    assert len(free) == 2
    low, high = box.lower.flatten()[free], box.upper.flatten()[free]
    square = torch.tensor([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=low.dtype)
    polygons = [(low + square * (high - low)).tolist()]

    def points(corners: list) -> Tensor:
        x = box.lower.flatten().repeat(len(corners), 1)
        x[:, free] = torch.tensor(corners, dtype=x.dtype)
        return x.view(-1, *box.lower.shape[1:])

    for site in network.activations:
        cut = []
        corners = [corner for polygon in polygons for corner in polygon]
        values = iter(node_values(network, points(corners))[site.inputs[0]].flatten(1).tolist())
        for polygon in polygons:
            cut += _cut([(corner, next(values)) for corner in polygon])
        polygons = [[corner for corner, _ in polygon] for polygon in cut]
    every = [corner for polygon in polygons for corner in polygon]
    return (evaluate(network, points(every)) @ rows.T).amin(0)


def _cut(polygon: list) -> list:
    """The parts of a polygon, a list of `(corner, values)`, on which no value changes its sign."""
    parts = [polygon]
    for k in range(len(polygon[0][1])):
        parts = [half for part in parts for half in _halves(part, k)]
    return parts


def _halves(polygon: list, k: int) -> list:
    sides = [values[k] for _, values in polygon]
    if min(sides) >= 0 or max(sides) <= 0:
        return [polygon]
    halves: tuple[list, list] = ([], [])
    for (corner, values), (after, later) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        here, there = values[k], later[k]
        for half, sign in zip(halves, (1, -1), strict=True):
            if sign * here >= 0:
                half.append((corner, values))
        if here * there < 0:
            t = here / (here - there)
            middle = tuple(
                [a + t * (b - a) for a, b in zip(p, q, strict=True)] for p, q in ((corner, after), (values, later))
            )
            middle[1][k] = 0.0
            for half in halves:
                half.append(middle)
    return [half for half in halves if len(half) >= 3]


def flat_points(box: Box, count: int = 1000, seed: int = 0) -> Tensor:
    """Random points `(d, count)` of a batch of one box, some of them corners."""
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(count, box.lower.numel(), generator=generator, dtype=torch.float64)
    share[: count // 8] = share[: count // 8].round()
    low, high = box.lower.flatten(), box.upper.flatten()
    return torch.minimum(low + share * (high - low), high).T.contiguous()


def random_duals(core: Core, batch: int, seed: int, share: float = 0.3) -> Duals:
    """Any α in [0, 1], β >= 0 and splits that most points of some orthant satisfy."""
    generator = torch.Generator().manual_seed(seed)
    size = (sum(core.sizes), batch)
    dtype = core.lower.dtype
    chance = torch.rand(size, generator=generator)
    sign = torch.where(torch.rand(size, generator=generator) < 0.5, 1.0, -1.0)
    split = torch.where(chance < share, sign, 0.0).to(dtype)
    alpha = torch.rand(size, generator=generator).to(dtype)
    beta = torch.rand(size, generator=generator).to(dtype) * (split != 0)
    slack = torch.where(split == 0, alpha, beta)
    return Duals(mix_of(core, torch.arange(batch) % len(core.out_constant)), split, slack)


def sampled_minimum(core: Core, duals: Duals, points: Tensor) -> Tensor:
    """Least mix `(batch,)` at those points of the box that satisfy each subproblem's splits; infinite if none do."""
    literals, values = evaluate_core(core, points)
    z = torch.cat([literals[:0], *values])
    fits = (duals.split.unsqueeze(2) * z.unsqueeze(1) >= 0).all(0)
    return torch.where(fits, duals.mix.T @ literals, torch.inf).amin(1)
