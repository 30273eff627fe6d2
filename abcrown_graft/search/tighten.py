"""α-CROWN for the core's own neurons: each bound of each neuron with slopes of its own.

A layer of a core is linear in the input and in the layers before it, just as the margins are. So its
neurons, and their negatives, are literals of a smaller core, whose certified bounds are the neurons'
bounds. Layers are taken from the first on; what becomes stable leaves the core at once.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from abcrown_graft.core.block import Block
from abcrown_graft.core.certificate import certified_bound
from abcrown_graft.core.core import Core
from abcrown_graft.core.dual import mix_of, root_duals
from abcrown_graft.core.elimination import with_bounds
from abcrown_graft.search.budget import Budget
from abcrown_graft.search.optimize import AdamSettings
from abcrown_graft.search.task import BoundTask, Steps, bounded


def tighten(core: Core, settings: AdamSettings, batch_size: int, dtype: torch.dtype, budget: Budget) -> Steps[Core]:
    """The core over tighter bounds, in float64.

    Args:
        core: in float64, from rigorous bounds.
        settings: effort.
        batch_size: bounds optimised at once.
        dtype: of the optimisation; its outcome is certified in float64.
        budget: ends the work early.
    """
    number = 0
    while number < len(core.layers) and not budget.late():
        layer, depth = core.layers[number], len(core.layers)
        if layer.from_layers:
            bounds = yield from _bounds(core, number, settings, batch_size, dtype, budget)
            core = with_bounds(core, number, *bounds)
        number += len(core.layers) == depth
    return core


def _bounds(
    core: Core, number: int, settings: AdamSettings, batch_size: int, dtype: torch.dtype, budget: Budget
) -> Steps[tuple[Tensor, Tensor]]:
    """Lower and upper bounds of one layer's neurons, no looser than they were."""
    exact = _neurons_as_literals(core, number)
    fast = exact.to(dtype=dtype)
    found = []
    for literals in torch.arange(len(exact.clause), device=core.lower.device).split(batch_size):
        start = root_duals(fast, mix_of(fast, literals))
        best = yield from bounded(BoundTask(fast, start, settings, budget))
        found.append(certified_bound(exact, best.duals.mix, best.duals.split, best.multipliers))
    lower, negative_upper = torch.cat(found).chunk(2)
    layer = core.layers[number]
    return torch.maximum(layer.lower, lower), torch.minimum(layer.upper, -negative_upper)


def _neurons_as_literals(core: Core, number: int) -> Core:
    """The core whose literals are the z of a layer's neurons, then their negatives."""
    layer = core.layers[number]

    def both(rows: Tensor) -> Tensor:
        return torch.cat([rows, -rows])

    none = layer.constant.new_zeros(len(layer.constant))
    blocks = [
        Block.of(both(layer.from_layers[j].dense() if j in layer.from_layers else none.unsqueeze(1).repeat(1, size)))
        for j, size in enumerate(core.sizes[:number])
    ]
    return replace(
        core,
        layers=core.layers[:number],
        out_input=Block.of(both(layer.from_input.dense())),
        out_layers=tuple(blocks),
        out_constant=both(layer.constant),
        out_error=layer.error.repeat(2),
        clause=torch.arange(2 * len(none), device=none.device),
    )
