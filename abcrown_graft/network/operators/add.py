"""The sum of two tensors."""

from __future__ import annotations

import operator as python
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.sparse import csr_array
from torch import Tensor

from abcrown_graft.network.matrices import identity
from abcrown_graft.network.onnx_writer import OnnxWriter
from abcrown_graft.network.operators.affine import AffineOperator, NonNegative, PulledBack, PulledBackWindows
from abcrown_graft.network.operators.operator import Shape
from abcrown_graft.network.operators.scale import Scale
from abcrown_graft.network.translation import Call, call_rule
from abcrown_graft.network.windows import Windows


@dataclass(frozen=True, eq=False)
class Add(NonNegative):
    """Sum of two tensors of one shape."""

    element_wise = True
    roundings = 1
    mixes = True
    copies = False

    def value(self, *inputs: Tensor) -> Tensor:
        x, y = inputs
        return x + y

    def longest_sum(self, input_shapes: tuple[Shape, ...], shape: Shape) -> int:
        return 1

    def pull_back(self, coefficients: Tensor, input_shapes: tuple[Shape, ...]) -> PulledBack:
        return (coefficients, coefficients), 0.0

    def matrices(self, input_shapes: tuple[Shape, ...], dtype: torch.dtype) -> tuple[csr_array, ...]:
        return (identity(input_shapes[0], dtype),) * 2

    def entries(self, shape: Shape) -> int:
        return torch.Size(shape).numel()

    def diagonal(self, shape: Shape) -> float:
        return 1.0

    def takes_windows(self, shape: Shape) -> bool:
        return True

    def window_before(self, h: int, w: int) -> tuple[int, int]:
        return h, w

    def pull_back_windows(self, windows: Windows, input_shapes: tuple[Shape, ...]) -> PulledBackWindows:
        return (windows, windows), 0.0

    def write_onnx(self, graph: OnnxWriter, sources: Sequence[str], shapes: tuple[Shape, ...], output: str) -> None:
        graph.call("Add", sources, output)


@call_rule(torch.add, python.add, python.iadd, "add")
def _call(call: Call) -> AffineOperator:
    """A scaling, if one of the operands is constant."""
    first, second = call.operands()
    if first and second:
        return Add()
    x, other = (0, 1) if first else (1, 0)
    return Scale(call.args[x].new_ones(()), call.constant(other, call.args[x]))
