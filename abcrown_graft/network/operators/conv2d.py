"""The convolution."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.nn import functional

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.network.matrices import numbered, reading
from abcrown_graft.network.onnx_writer import OnnxWriter
from abcrown_graft.network.operators.affine import AffineOperator, PulledBack, PulledBackWindows
from abcrown_graft.network.operators.operator import Shape
from abcrown_graft.network.operators.weights import bias_of, per_output, scaled_weights
from abcrown_graft.network.translation import module_rule, pair
from abcrown_graft.network.windows import Windows, grown

MAX_WINDOW_MATRIX = 2**17  # entries up to which a CPU multiplies whole windows faster than it convolves them


@dataclass(frozen=True, eq=False)
class Conv2d(AffineOperator):
    """2-D convolution with zero padding; weight `(out, in / groups, kh, kw)`, bias `(out,)`."""

    weight: Tensor
    bias: Tensor
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    element_wise = False
    mixes = True
    copies = True

    @property
    def roundings(self) -> int:
        return self.fan_in + 1

    @property
    def fan_in(self) -> int:
        return self.weight[0].numel()

    def value(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        return functional.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def absolute(self) -> AffineOperator:
        return dataclasses.replace(self, weight=self.weight.abs(), bias=self.bias.abs())

    def linear(self) -> AffineOperator:
        return dataclasses.replace(self, bias=torch.zeros_like(self.bias))

    def longest_sum(self, input_shapes: tuple[Shape, ...], shape: Shape) -> int:
        kernel = self.weight[0, 0].numel()
        return kernel * (self.weight.shape[0] + self.weight.shape[1]) + torch.Size(shape).numel()

    def pull_back(self, coefficients: Tensor, input_shapes: tuple[Shape, ...]) -> PulledBack:
        size = (len(coefficients), *input_shapes[0])
        options = self.stride, self.padding, self.dilation, self.groups
        pulled = torch.nn.grad.conv2d_input(size, self.weight, coefficients, *options)
        return (pulled,), coefficients.sum((2, 3)) @ self.bias

    def matrices(self, input_shapes: tuple[Shape, ...], dtype: torch.dtype) -> tuple[csr_array, ...]:
        numbers = numbered(input_shapes[0]).double()  # unfold takes floating point only; 0 is padding
        kernel = self.weight.shape[2:]
        read = functional.unfold(numbers.unsqueeze(0), kernel, self.dilation, self.padding, self.stride)
        read = read[0].long().unflatten(0, (self.groups, -1)).transpose(1, 2)  # (groups, places, terms)
        weight = self.weight.flatten(1).unflatten(0, (self.groups, -1)).unsqueeze(2)  # (groups, out, 1, terms)
        read, weight = torch.broadcast_tensors(read.unsqueeze(1), weight)
        return (reading(read.flatten(0, 2), weight.flatten(0, 2), input_shapes[0]),)

    def constant(self, shape: Shape) -> Tensor:
        return self.bias.repeat_interleave(shape[1] * shape[2])

    def entries(self, shape: Shape) -> int:
        return torch.Size(shape).numel() * self.weight[0].numel()

    def takes_windows(self, shape: Shape) -> bool:
        return True

    def window_before(self, h: int, w: int) -> tuple[int, int]:
        return grown(h, w, self.weight.shape[2:], self.stride, self.dilation)

    def pull_back_windows(self, windows: Windows, input_shapes: tuple[Shape, ...]) -> PulledBackWindows:
        constant = windows.values.sum((2, 3)) @ self.bias
        moved = windows.moved(self._transposed(windows.values), self.stride, self.padding, input_shapes[0])
        return (moved,), constant

    def _transposed(self, values: Tensor) -> Tensor:
        """The transposed convolution of windows `(rows, channels, h, w)`; by its matrix where that is small."""
        rows, channels, h, w = values.shape
        size, read = channels * h * w, self.weight.shape[1] * self.groups * math.prod(self.window_before(h, w))
        if values.device.type != "cpu" or size * read > MAX_WINDOW_MATRIX:
            return self.convolved(values)
        matrix = _window_matrix(self, h, w)
        return (values.flatten(1) @ matrix.flatten(1)).view(rows, *matrix.shape[1:])

    def convolved(self, values: Tensor) -> Tensor:
        """The transposed convolution of whole windows, without padding."""
        return functional.conv_transpose2d(
            values, self.weight, stride=self.stride, groups=self.groups, dilation=self.dilation
        )

    def scaled(self, scale: Tensor, shift: Tensor, shape: Shape) -> Conv2d | None:
        if not (per_output(scale, shape) and per_output(shift, shape)):
            return None
        weight, bias = scaled_weights(self.weight, self.bias, scale, shift)
        return dataclasses.replace(self, weight=weight, bias=bias)

    def write_onnx(self, graph: OnnxWriter, sources: Sequence[str], shapes: tuple[Shape, ...], output: str) -> None:
        weight, bias = graph.weight(f"{output}.weight", self.weight), graph.weight(f"{output}.bias", self.bias)
        graph.call(
            "Conv",
            [sources[0], weight, bias],
            output,
            kernel_shape=list(self.weight.shape[2:]),
            strides=list(self.stride),
            pads=[*self.padding, *self.padding],
            dilations=list(self.dilation),
            group=self.groups,
        )


@lru_cache(maxsize=64)
def _window_matrix(operator: Conv2d, h: int, w: int) -> Tensor:
    """The windows `(entries, channels, height, width)` that the entries of a window of height h and width w become."""
    size = len(operator.weight) * h * w
    unit = torch.eye(size, dtype=operator.weight.dtype).view(size, len(operator.weight), h, w)
    return operator.convolved(unit)


@module_rule(nn.Conv2d)
def _module(module: nn.Conv2d, shape: Shape) -> Conv2d:
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise UnsupportedError(f"Conv2d with padding {module.padding_mode!r}/{module.padding!r}; use zero padding")
    stride, padding, dilation = pair(module.stride), pair(module.padding), pair(module.dilation)
    return Conv2d(module.weight, bias_of(module), stride, padding, dilation, module.groups)
