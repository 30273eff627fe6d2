"""Twenty neurons on the plane: small enough to know every margin from a grid. α,β-CROWN's processes import it, too."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from abcrown_graft.bounds.propagate import bound_network, margin_lower_bounds
from abcrown_graft.geometry.box import Box
from abcrown_graft.network.graph import Network
from abcrown_graft.network.trace import from_module
from abcrown_graft.nn.activation import GraftedReLU

COUNT, RADIUS, NEURONS, CLASSES = 40, 0.4, 10, 3
GRID = 201
UNSURE = 0.03  # margins of a smaller absolute value are left out of the instances


@lru_cache
def network() -> nn.Sequential:
    """Two hidden layers of ten neurons, half of them grafted; some lines fall."""
    generator = torch.Generator().manual_seed(5)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    layers: list[nn.Module] = []
    for inputs, outputs in ((2, NEURONS), (NEURONS, NEURONS), (NEURONS, CLASSES)):
        layer = nn.Linear(inputs, outputs)
        layer.weight.data = normal(outputs, inputs) * (4 / inputs) ** 0.5
        layer.bias.data = normal(outputs) * 0.3
        layers.append(layer)
        if outputs == NEURONS:
            mask = torch.rand(NEURONS, generator=generator) < 0.5
            layers.append(GraftedReLU(mask, 0.6 * normal(NEURONS), 0.3 * normal(NEURONS)))
    return nn.Sequential(*layers).eval()


def abcrown_network() -> nn.Module:
    """The same for α,β-CROWN."""
    from abcrown_graft.engines.abcrown.network import as_abcrown_network

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    module = network()
    torch.set_default_dtype(before)
    return as_abcrown_network(module)


def careless_network() -> nn.Module:
    """The same with an operator that lets branching split grafted neurons: a control of what counts the splits."""
    from auto_LiRPA.bound_ops import BoundRelu

    from abcrown_graft.engines.abcrown.operator import BoundGraftedRelu

    BoundGraftedRelu.get_split_mask = BoundRelu.get_split_mask
    return abcrown_network()


def smallest_margin(module: nn.Module, centre: Tensor, label: int) -> float:
    """Over a grid on the box around the centre `(2,)`: the label's output minus the largest other one."""
    ticks = torch.linspace(-RADIUS, RADIUS, GRID)
    points = centre + torch.cartesian_prod(ticks, ticks)
    with torch.no_grad():
        outputs = module(points)
    others = outputs.clone()
    others[:, label] = -torch.inf
    return float((outputs[:, label] - others.amax(1)).min())


def is_easy(graph: Network, centre: Tensor, label: int) -> bool:
    """Whether CROWN alone proves that the label is the largest output in the whole box."""
    box = Box(centre[None] - RADIUS, centre[None] + RADIUS)
    others = [k for k in range(CLASSES) if k != label]
    rows = torch.eye(CLASSES)[label] - torch.eye(CLASSES)[others]
    return bool((margin_lower_bounds(bound_network(graph, box), rows[None]) > 0).all())


@lru_cache
def boxes() -> tuple[Tensor, Tensor, list[bool]]:
    """Centres `(COUNT, 2)`, the classes there, and whether the class is the same in the whole box: every
    other one."""
    module, generator = network(), torch.Generator().manual_seed(2)
    graph = from_module(module, (2,))
    found: dict[bool, list[tuple[Tensor, int]]] = {True: [], False: []}
    while min(map(len, found.values())) < COUNT // 2:
        centre = 3 * torch.rand(2, generator=generator) - 1.5
        label = int(module(centre[None]).argmax())
        if not is_easy(graph, centre, label):
            margin = smallest_margin(module, centre, label)
            if UNSURE < abs(margin) < 1:
                found[margin > 0].append((centre, label))
    pairs = zip(*(items[: COUNT // 2] for items in found.values()), strict=True)
    chosen = [(*item, truth) for pair in pairs for item, truth in zip(pair, found, strict=True)]
    chosen_centres, chosen_labels, robust = zip(*chosen, strict=True)
    return torch.stack(chosen_centres), torch.tensor(chosen_labels), list(robust)


def save(path: Path) -> None:
    """Writes the boxes for `instances`."""
    centres, labels, _ = boxes()
    np.savez(path, centres=centres.numpy(), labels=labels.numpy())


def instances(specification: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The boxes in the form that α,β-CROWN takes, in torch's default precision."""
    with np.load(path, allow_pickle=False) as arrays:
        centres, labels = (torch.from_numpy(arrays[name]) for name in ("centres", "labels"))
    centres, every = centres.to(torch.get_default_dtype()), torch.ones(1, 2)
    ends = {"data_min": -10 * every, "data_max": 10 * every}
    return {"X": centres, "labels": labels, "eps": RADIUS * every, "norm": float("inf"), **ends} | dict.fromkeys(
        ("runnerup", "target_label")
    )
