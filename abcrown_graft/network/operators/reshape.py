"""Another shape for the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.sparse import csr_array
from torch import Tensor, nn

from abcrown_graft.network.matrices import identity
from abcrown_graft.network.onnx_writer import OnnxWriter
from abcrown_graft.network.operators.affine import NonNegative, PulledBack, WithoutWindows
from abcrown_graft.network.operators.operator import Shape
from abcrown_graft.network.translation import Call, call_rule, module_rule


@dataclass(frozen=True, eq=False)
class Reshape(NonNegative, WithoutWindows):
    """The same numbers in row-major order under another shape."""

    shape: tuple[int, ...]

    element_wise = False
    roundings = 0
    mixes = False
    copies = False
    keeps_numbers = True

    def value(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        return x.reshape(len(x), *self.shape)

    def longest_sum(self, input_shapes: tuple[Shape, ...], shape: Shape) -> int:
        return 1

    def pull_back(self, coefficients: Tensor, input_shapes: tuple[Shape, ...]) -> PulledBack:
        return (coefficients.reshape(len(coefficients), *input_shapes[0]),), 0.0

    def matrices(self, input_shapes: tuple[Shape, ...], dtype: torch.dtype) -> tuple[csr_array, ...]:
        return (identity(input_shapes[0], dtype),)

    def entries(self, shape: Shape) -> int:
        return torch.Size(shape).numel()

    def diagonal(self, shape: Shape) -> float:
        return 1.0

    def write_onnx(self, graph: OnnxWriter, sources: Sequence[str], shapes: tuple[Shape, ...], output: str) -> None:
        if len(self.shape) == 1:
            graph.call("Flatten", sources, output, axis=1)
            return
        shape = graph.integers(f"{output}.shape", [-1, *self.shape])  # -1: also for tools that add a batch
        graph.call("Reshape", [sources[0], shape], output)


@module_rule(nn.Flatten, nn.Unflatten)
def _module(module: nn.Module, shape: Shape) -> Reshape:
    return Reshape(shape)


@call_rule(torch.flatten, torch.reshape, "flatten", "view", "reshape")
def _call(call: Call) -> Reshape:
    return Reshape(call.shape)
