"""The linear layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.sparse import csr_array, eye_array, kron
from torch import Tensor, nn
from torch.nn import functional

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.network.onnx_writer import OnnxWriter
from abcrown_graft.network.operators.affine import AffineOperator, PulledBack, WithoutWindows
from abcrown_graft.network.operators.operator import Shape
from abcrown_graft.network.operators.weights import bias_of, per_output, scaled_weights
from abcrown_graft.network.translation import module_rule


@dataclass(frozen=True, eq=False)
class Linear(WithoutWindows):
    """`weight @ x + bias` over the last axis, for each row of the others; weight `(out, in)`, bias `(out,)`."""

    weight: Tensor
    bias: Tensor

    element_wise = False
    mixes = True
    copies = True

    @property
    def roundings(self) -> int:
        return self.fan_in + 1

    @property
    def fan_in(self) -> int:
        return self.weight.shape[1]

    def value(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        return functional.linear(x, self.weight, self.bias)

    def absolute(self) -> AffineOperator:
        return dataclasses.replace(self, weight=self.weight.abs(), bias=self.bias.abs())

    def linear(self) -> AffineOperator:
        return dataclasses.replace(self, bias=torch.zeros_like(self.bias))

    def longest_sum(self, input_shapes: tuple[Shape, ...], shape: Shape) -> int:
        return torch.Size(shape).numel() + self.weight.shape[1]

    def pull_back(self, coefficients: Tensor, input_shapes: tuple[Shape, ...]) -> PulledBack:
        constant = (coefficients @ self.bias).view(len(coefficients), -1).sum(1)
        return (coefficients @ self.weight,), constant

    def matrices(self, input_shapes: tuple[Shape, ...], dtype: torch.dtype) -> tuple[csr_array, ...]:
        repeats = torch.Size(input_shapes[0][:-1]).numel()
        weight = csr_array(self.weight.numpy())
        return (weight if repeats == 1 else csr_array(kron(eye_array(repeats, dtype=weight.dtype), weight)),)

    def constant(self, shape: Shape) -> Tensor:
        return self.bias.expand(shape).flatten()

    def entries(self, shape: Shape) -> int:
        return torch.Size(shape).numel() * self.weight.shape[1]

    def scaled(self, scale: Tensor, shift: Tensor, shape: Shape) -> Linear | None:
        """For a single row; with several, the first axis counts rows, not outputs."""
        if len(shape) != 1 or not (per_output(scale, shape) and per_output(shift, shape)):
            return None
        weight, bias = scaled_weights(self.weight, self.bias, scale, shift)
        return dataclasses.replace(self, weight=weight, bias=bias)

    def write_onnx(self, graph: OnnxWriter, sources: Sequence[str], shapes: tuple[Shape, ...], output: str) -> None:
        if len(shapes[0]) == 1:
            weight, bias = graph.weight(f"{output}.weight", self.weight), graph.weight(f"{output}.bias", self.bias)
            graph.call("Gemm", [sources[0], weight, bias], output, transB=1)
            return
        weight = graph.weight(f"{output}.weight", self.weight.T)
        product = graph.call("MatMul", [sources[0], weight], graph.inner(f"{output}/product"))
        graph.call("Add", [product, graph.weight(f"{output}.bias", self.bias)], output)


@module_rule(nn.Linear)
def _module(module: nn.Linear, shape: Shape) -> Linear:
    if len(shape) != 1:
        raise UnsupportedError(f"Linear on a tensor of shape {shape}; flatten it first")
    return Linear(module.weight, bias_of(module))
