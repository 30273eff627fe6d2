"""Generic oracles: what any sound bound must satisfy, whatever network it is of."""

from __future__ import annotations

import torch
from torch import Tensor

from abcrown_graft.bounds.propagate import METHODS, NetworkBounds, margin_lower_bounds
from abcrown_graft.geometry.box import Box
from abcrown_graft.network.forward import evaluate, pre_activations
from abcrown_graft.network.graph import Network


def random_points(box: Box, count: int = 1000, seed: int = 0) -> Tensor:
    """Points of every box, `(batch, count, *shape)`: three quarters interior, the rest corners and edges."""
    generator = torch.Generator().manual_seed(seed)
    size = (len(box), count, *box.lower.shape[1:])
    share = torch.rand(size, generator=generator, dtype=torch.float64)
    share[:, : count // 8] = share[:, : count // 8].round()
    share[:, count // 8 : count // 4] = (3 * share[:, count // 8 : count // 4] - 1).clamp(0, 1)
    lower, upper = box.lower.double().unsqueeze(1), box.upper.double().unsqueeze(1)
    return Box(lower, upper).clamp(lower + share * (upper - lower))


def pushing_points(network: Network, box: Box, neurons: int = 4, steps: int = 8, seed: int = 0) -> Tensor:
    """PGD points `(batch, targets, *shape)`: each maximises or minimises one random pre-activation or output."""
    network, box = network.to(dtype=torch.float64), box.to(dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    sizes = [*(torch.Size(s).numel() for s in network.sites.values()), torch.Size(network.output.shape).numel()]
    targets = [int(i) for size in sizes for i in torch.randint(size, (neurons,), generator=generator)]
    sign = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat_interleave(len(targets))
    index = torch.tensor(targets + targets)
    rows = torch.arange(len(sign))
    group = rows % len(targets) // neurons
    points = ((box.lower + box.upper) / 2).unsqueeze(1).repeat(1, len(sign), *(1,) * len(network.input.shape))
    radius = (box.upper - box.lower).unsqueeze(1) / 2
    around = Box(box.lower.unsqueeze(1), box.upper.unsqueeze(1))
    for step in range(steps):
        points = points.detach().requires_grad_(True)
        output, inputs = pre_activations(network, points.flatten(0, 1))
        flat = [v.flatten(1).unflatten(0, (len(box), -1)) for v in (*inputs.values(), output)]
        chosen = [flat[g][:, r, i] for g, r, i in zip(group.tolist(), rows.tolist(), index.tolist(), strict=True)]
        (gradient,) = torch.autograd.grad((torch.stack(chosen, 1) * sign).sum(), points)
        points = around.clamp(points.detach() + gradient.sign() * radius * (2 / (step + 1)))
    return points


def assert_inside(name: str, values: Tensor, box: Box, tolerance: float) -> None:
    """Values `(batch, count, *shape)` lie in the boxes `(batch, *shape)`, up to a relative tolerance."""
    lower, upper = box.lower.double().unsqueeze(1), box.upper.double().unsqueeze(1)
    slack = tolerance * (1 + torch.maximum(lower.abs(), upper.abs()))
    outside = ~((values >= lower - slack) & (values <= upper + slack))
    worst = torch.maximum(lower - values, values - upper).max().item()
    assert not outside.any(), f"{name}: {int(outside.sum())} values outside, by up to {worst:.3g}"


def assert_sound(bounds: NetworkBounds, points: Tensor, tolerance: float = 0.0, rows: Tensor | None = None) -> None:
    """Every pre-activation, output and margin at the points (in float64) respects the bounds."""
    exact = bounds.network.to(dtype=torch.float64)
    with torch.no_grad():
        output, inputs = pre_activations(exact, points.flatten(0, 1))
    shape = points.shape[:2]
    for site, z in inputs.items():
        assert_inside(f"site {site!r}", z.unflatten(0, shape), bounds.pre_activation[site], tolerance)
    output = output.unflatten(0, shape)
    assert_inside("output", output, bounds.output, tolerance)
    if rows is None:
        rows = random_rows(bounds)
    margins = output @ rows.double().transpose(1, 2)
    for method in METHODS:
        lower = margin_lower_bounds(bounds, rows, method).double().unsqueeze(1)
        slack = tolerance * (1 + lower.abs() + rows.double().abs().sum(2).unsqueeze(1) * output.abs().amax(2, True))
        assert (margins >= lower - slack).all(), f"{method} margins: {(lower - margins).max().item():.3g} too high"


def random_rows(bounds: NetworkBounds, count: int = 3, seed: int = 0) -> Tensor:
    """Random linear functions `(batch, count, outputs)` of the output."""
    generator = torch.Generator().manual_seed(seed)
    size = (len(bounds.box), count, bounds.network.output.shape[0])
    return torch.randn(size, generator=generator, dtype=torch.float64).to(bounds.box.lower.dtype)


def affine_minimum(network: Network, box: Box, rows: Tensor) -> Tensor:
    """Exact minima `(batch, spec)` of rows of a network that is affine on each box, from its Jacobian at the centre."""
    centre, radius = (box.lower + box.upper) / 2, (box.upper - box.lower) / 2
    found = []
    for c, r, row in zip(centre, radius, rows, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda x: evaluate(network, x.unsqueeze(0))[0], c)
        value = evaluate(network, c.unsqueeze(0))[0]
        found.append(row @ value - (row @ jacobian.flatten(1)).abs() @ r.flatten())
    return torch.stack(found)
