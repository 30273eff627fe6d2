"""A network graph as a torch module, for what wants one."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.graph import Network


class NetworkModule(nn.Module):
    """Evaluates a network; `to`, `double` and `float` change its constants as they would a module's buffers.

    Its constants are neither parameters nor buffers: it is for evaluation, not for training or saving.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Outputs `(batch, outputs)` for inputs `(batch, *input shape)`."""
        return evaluate(self.network, x)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> NetworkModule:
        super()._apply(fn, recurse)
        self.network = self.network.map_tensors(fn)
        return self
