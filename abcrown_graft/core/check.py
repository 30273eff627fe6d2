"""A core against its network, at random points of the box."""

from __future__ import annotations

import torch
from torch import Tensor

from abcrown_graft.bounds.evaluation import unexplained
from abcrown_graft.core.core import Core, evaluate_core
from abcrown_graft.errors import AbcrownGraftError
from abcrown_graft.geometry.box import Box
from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.graph import Network


class CoreError(AbcrownGraftError):
    """A core is not its network: a bug in this package."""


def check_core(
    core: Core, network: Network, box: Box, rows: Tensor, offsets: Tensor, points: int = 64, seed: int = 0
) -> None:
    """Raises CoreError unless the literals of the core are those of the network, up to rounding.

    Args:
        core, network: in float64.
        box: of a batch of one.
        rows, offsets: of the literals, `(literals, outputs)` and `(literals,)`.
        points: how many random inputs, some of them corners of the box.
        seed: of these.
    """
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(points, box.lower.numel(), generator=generator, dtype=torch.float64).to(box.lower)
    share[: points // 4] = share[: points // 4].round()
    low, high = box.lower.flatten(), box.upper.flatten()
    x = torch.minimum(low + share * (high - low), high)
    of_network = evaluate(network, x.view(-1, *box.lower.shape[1:])) @ rows.T + offsets
    of_core = evaluate_core(core, x.T.contiguous())[0].T
    allowed = 1e-6 * (1 + of_network.abs())
    if (worst := unexplained(of_core, of_network, allowed)) is not None:
        raise CoreError(f"the unstable core differs from its network by {worst[0]:.3g} at a point of the box")
