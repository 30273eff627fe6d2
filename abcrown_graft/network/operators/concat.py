"""Concatenation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from scipy.sparse import csr_array
from torch import Tensor

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.network.matrices import numbered, reading
from abcrown_graft.network.onnx_writer import OnnxWriter
from abcrown_graft.network.operators.affine import NonNegative, PulledBack, PulledBackWindows
from abcrown_graft.network.operators.operator import Shape
from abcrown_graft.network.translation import Call, call_rule
from abcrown_graft.network.windows import Windows


@dataclass(frozen=True, eq=False)
class Concat(NonNegative):
    """Concatenation along `axis` (not counting the batch)."""

    axis: int

    element_wise = False
    roundings = 0
    mixes = False
    copies = False

    def value(self, *inputs: Tensor) -> Tensor:
        return torch.cat(inputs, dim=self.axis + 1)

    def longest_sum(self, input_shapes: tuple[Shape, ...], shape: Shape) -> int:
        return 1

    def pull_back(self, coefficients: Tensor, input_shapes: tuple[Shape, ...]) -> PulledBack:
        sizes = [shape[self.axis] for shape in input_shapes]
        return tuple(coefficients.split(sizes, dim=self.axis + 1)), 0.0

    def matrices(self, input_shapes: tuple[Shape, ...], dtype: torch.dtype) -> tuple[csr_array, ...]:
        parts = [numbered(shape) for shape in input_shapes]
        found = []
        for k, shape in enumerate(input_shapes):
            read = torch.cat([p if i == k else torch.zeros_like(p) for i, p in enumerate(parts)], self.axis).view(-1, 1)
            found.append(reading(read, torch.ones_like(read, dtype=dtype), shape))
        return tuple(found)

    def entries(self, shape: Shape) -> int:
        return torch.Size(shape).numel()

    def takes_windows(self, shape: Shape) -> bool:
        """Where it puts channels side by side."""
        return self.axis == 0

    def window_before(self, h: int, w: int) -> tuple[int, int]:
        return h, w

    def pull_back_windows(self, windows: Windows, input_shapes: tuple[Shape, ...]) -> PulledBackWindows:
        parts = windows.values.split([shape[0] for shape in input_shapes], dim=1)
        split = (replace(windows, values=v, shape=shape) for v, shape in zip(parts, input_shapes, strict=True))
        return tuple(split), 0.0

    def write_onnx(self, graph: OnnxWriter, sources: Sequence[str], shapes: tuple[Shape, ...], output: str) -> None:
        graph.call("Concat", sources, output, axis=self.axis + 1)


@call_rule(torch.cat)
def _call(call: Call) -> Concat:
    if call.mixed:
        raise UnsupportedError(f"{call.where}: concatenation with a constant tensor")
    axis = call.argument(1, "dim", call.kwargs.get("axis", 0))
    axis = axis - 1 if axis > 0 else axis + len(call.shape)
    if not 0 <= axis < len(call.shape):
        raise UnsupportedError(f"{call.where}: concatenation along the batch")
    return Concat(axis)
