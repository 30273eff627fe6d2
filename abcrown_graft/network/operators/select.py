"""Numbers of a tensor picked one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional

from abcrown_graft.network.matrices import reading
from abcrown_graft.network.onnx_writer import OnnxWriter, write_padding
from abcrown_graft.network.operators.affine import NonNegative, PulledBack, WithoutWindows
from abcrown_graft.network.operators.operator import Shape


@dataclass(frozen=True, eq=False)
class Select(NonNegative, WithoutWindows):
    """Every output is one number of the flattened input, or zero: transposes, slices, broadcasts.

    `index`, of the output's shape, numbers the inputs from 1; 0 is a zero.
    """

    index: Tensor

    element_wise = False
    roundings = 0
    mixes = False

    @property
    def copies(self) -> bool:
        return self.repeats > 1

    @property
    def repeats(self) -> int:
        """How often the input that is read most is read."""
        return int(self.index[self.index > 0].flatten().bincount(minlength=1).amax())

    def value(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        return functional.pad(x.flatten(1), (1, 0))[:, self.index]

    def longest_sum(self, input_shapes: tuple[Shape, ...], shape: Shape) -> int:
        """Going backward, the coefficients of all copies of a number are added up."""
        return self.repeats

    def pull_back(self, coefficients: Tensor, input_shapes: tuple[Shape, ...]) -> PulledBack:
        size = torch.Size(input_shapes[0]).numel()
        pulled = coefficients.new_zeros(len(coefficients), 1 + size)  # the first column collects what read a zero
        pulled.index_add_(1, self.index.flatten(), coefficients.flatten(1))
        return (pulled[:, 1:].reshape(len(coefficients), *input_shapes[0]),), 0.0

    def matrices(self, input_shapes: tuple[Shape, ...], dtype: torch.dtype) -> tuple[csr_array, ...]:
        read = self.index.reshape(-1, 1)
        return (reading(read, torch.ones_like(read, dtype=dtype), input_shapes[0]),)

    def entries(self, shape: Shape) -> int:
        return torch.Size(shape).numel()

    def write_onnx(self, graph: OnnxWriter, sources: Sequence[str], shapes: tuple[Shape, ...], output: str) -> None:
        source, index = sources[0], self.index
        if len(shapes[0]) > 1:
            source = graph.call("Flatten", [source], graph.inner(f"{output}/flat"), axis=1)
        if bool((index == 0).any()):
            padded = graph.inner(f"{output}/padded")
            write_padding(graph, source, [0, 1, 0, 0], padded)
            source = padded
        else:
            index = index - 1
        places = graph.integers(f"{output}.index", index.cpu().numpy())
        graph.call("Gather", [source, places], output, axis=1)
