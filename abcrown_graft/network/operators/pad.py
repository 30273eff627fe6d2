"""Zero padding, and cropping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.nn import functional

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.network.matrices import numbered, reading
from abcrown_graft.network.onnx_writer import OnnxWriter, write_padding
from abcrown_graft.network.operators.affine import NonNegative, PulledBack, PulledBackWindows
from abcrown_graft.network.operators.operator import Shape
from abcrown_graft.network.translation import Call, call_rule, module_rule
from abcrown_graft.network.windows import Windows


@dataclass(frozen=True, eq=False)
class Pad(NonNegative):
    """Zero padding of the last axes, in the order of `torch.nn.functional.pad`; negative amounts crop."""

    amounts: tuple[int, ...]

    element_wise = False
    roundings = 0
    mixes = False
    copies = False

    def value(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        return functional.pad(x, self.amounts)

    def longest_sum(self, input_shapes: tuple[Shape, ...], shape: Shape) -> int:
        return 1

    def pull_back(self, coefficients: Tensor, input_shapes: tuple[Shape, ...]) -> PulledBack:
        return (functional.pad(coefficients, tuple(-amount for amount in self.amounts)),), 0.0

    def matrices(self, input_shapes: tuple[Shape, ...], dtype: torch.dtype) -> tuple[csr_array, ...]:
        read = functional.pad(numbered(input_shapes[0]), self.amounts).view(-1, 1)
        return (reading(read, torch.ones_like(read, dtype=dtype), input_shapes[0]),)

    def entries(self, shape: Shape) -> int:
        return torch.Size(shape).numel()

    def takes_windows(self, shape: Shape) -> bool:
        """Where it pads the plane, and does not crop it."""
        return len(self.amounts) == 4 and min(self.amounts) >= 0

    def window_before(self, h: int, w: int) -> tuple[int, int]:
        return h, w

    def pull_back_windows(self, windows: Windows, input_shapes: tuple[Shape, ...]) -> PulledBackWindows:
        left, _, top, _ = self.amounts
        moved = replace(windows, top=windows.top - top, left=windows.left - left, shape=input_shapes[0]).trimmed()
        return (moved,), 0.0

    def write_onnx(self, graph: OnnxWriter, sources: Sequence[str], shapes: tuple[Shape, ...], output: str) -> None:
        axes = len(shapes[0]) - len(self.amounts) // 2 + 1
        begin, end = ([0] * axes + list(self.amounts[first::2])[::-1] for first in (0, 1))
        write_padding(graph, sources[0], begin + end, output)


@module_rule(nn.ZeroPad2d)
def _module(module: nn.ZeroPad2d, shape: Shape) -> Pad:
    return Pad(tuple(module.padding))


@call_rule(functional.pad)
def _call(call: Call) -> Pad:
    if call.argument(2, "mode", "constant") != "constant" or call.argument(3, "value", 0) not in (0, None):
        raise UnsupportedError(f"{call.where}: padding other than with zeros")
    amounts = tuple(call.argument(1, "pad", ()))
    if len(amounts) > 2 * len(call.shape):
        raise UnsupportedError(f"{call.where}: padding of the batch axis")
    return Pad(amounts)
