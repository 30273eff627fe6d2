"""The network's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.network.operators.operator import Operator, Shape


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise UnsupportedError("operator Input stands first; it has no inputs and no rules")


@dataclass(frozen=True, eq=False)
class Input(Operator):
    """The network's input: nothing is computed here."""

    element_wise = False
    roundings = 0
    value = interval = magnitude = longest_sum = write_onnx = _refuse

    def takes_windows(self, shape: Shape) -> bool:
        """Windows end here."""
        return True

    def window_before(self, h: int, w: int) -> tuple[int, int]:
        """The window itself."""
        return h, w
