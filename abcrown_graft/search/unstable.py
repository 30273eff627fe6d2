"""Which neurons are unstable by α-CROWN's bounds: CROWN's, with every bound's own slopes optimised.

An image's network is reduced to its core over rigorous bounds, whose layers are then tightened from the first on
(`search.tighten`); what is left of the core is unstable. Each bound counts as it is certified in float64, so a neuron
that is called stable is stable.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from abcrown_graft.bounds.propagate import NetworkBounds
from abcrown_graft.core.core import Core
from abcrown_graft.core.reduction import reduce_to_core
from abcrown_graft.search.budget import Budget
from abcrown_graft.search.optimize import AdamSettings
from abcrown_graft.search.task import alone
from abcrown_graft.search.tighten import tighten


def unstable_by_alpha(
    bounds: NetworkBounds, settings: AdamSettings, batch_size: int, dtype: torch.dtype
) -> dict[str, Tensor]:
    """By site, a boolean `(batch, *neurons)` on the CPU: neither stable nor grafted.

    Args:
        bounds: rigorous, in float64, of a batch of images.
        settings: effort of each bound; with 0 iterations CROWN's slopes stay.
        batch_size: bounds optimised at once.
        dtype: of the optimisation.
    """
    network, batch = bounds.network, len(bounds.box)
    flags = {site: torch.zeros(batch, *shape, dtype=torch.bool) for site, shape in network.sites.items()}
    for image in range(batch):
        core = _core(bounds.select(torch.tensor([image], device=bounds.box.lower.device)))
        for layer in alone(tighten(core, settings, batch_size, dtype, Budget(math.inf))).layers:
            if layer.site in flags:  # others cannot be grafted, and are not counted
                flags[layer.site][image].view(-1)[layer.neurons.cpu()] = True
    return flags


def _core(bounds: NetworkBounds) -> Core:
    """The core of one image; nothing is asked of its outputs."""
    outputs = math.prod(bounds.network.output.shape)
    return reduce_to_core(bounds, bounds.box.lower.new_zeros(1, outputs))
