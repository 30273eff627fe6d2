"""Average pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.nn import functional

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.network.onnx_writer import OnnxWriter
from abcrown_graft.network.operators.affine import NonNegative, PulledBack, PulledBackWindows
from abcrown_graft.network.operators.conv2d import Conv2d
from abcrown_graft.network.operators.operator import Shape
from abcrown_graft.network.translation import Call, call_rule, module_rule, pair
from abcrown_graft.network.windows import Windows, grown


@dataclass(frozen=True, eq=False)
class AvgPool2d(NonNegative):
    """Average pooling; padded zeros count as pixels."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    element_wise = False
    mixes = True
    copies = True

    @property
    def size(self) -> int:
        """Of the kernel."""
        return self.kernel[0] * self.kernel[1]

    @property
    def roundings(self) -> int:
        return self.size + 1

    def value(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        return functional.avg_pool2d(x, self.kernel, self.stride, self.padding)

    def longest_sum(self, input_shapes: tuple[Shape, ...], shape: Shape) -> int:
        return 2 * self.size

    def pull_back(self, coefficients: Tensor, input_shapes: tuple[Shape, ...]) -> PulledBack:
        channels = input_shapes[0][0]
        weight = coefficients.new_full((channels, 1, *self.kernel), 1 / self.size)
        shape = (len(coefficients), *input_shapes[0])
        pulled = torch.nn.grad.conv2d_input(shape, weight, coefficients, self.stride, self.padding, groups=channels)
        return (pulled,), 0.0

    def matrices(self, input_shapes: tuple[Shape, ...], dtype: torch.dtype) -> tuple[csr_array, ...]:
        channels = input_shapes[0][0]
        weight = torch.full((channels, 1, *self.kernel), 1 / self.size, dtype=dtype)
        same = Conv2d(weight, weight.new_zeros(channels), self.stride, self.padding, (1, 1), channels)
        return same.matrices(input_shapes, dtype)

    def entries(self, shape: Shape) -> int:
        return torch.Size(shape).numel() * self.size

    def takes_windows(self, shape: Shape) -> bool:
        return True

    def window_before(self, h: int, w: int) -> tuple[int, int]:
        return grown(h, w, self.kernel, self.stride, (1, 1))

    def pull_back_windows(self, windows: Windows, input_shapes: tuple[Shape, ...]) -> PulledBackWindows:
        channels = windows.shape[0]
        kernel = windows.values.new_full((channels, 1, *self.kernel), 1 / self.size)
        values = functional.conv_transpose2d(windows.values, kernel, stride=self.stride, groups=channels)
        return (windows.moved(values, self.stride, self.padding, input_shapes[0]),), 0.0

    def write_onnx(self, graph: OnnxWriter, sources: Sequence[str], shapes: tuple[Shape, ...], output: str) -> None:
        graph.call(
            "AveragePool",
            sources,
            output,
            kernel_shape=list(self.kernel),
            strides=list(self.stride),
            pads=[*self.padding, *self.padding],
            count_include_pad=1,
        )


@module_rule(nn.AvgPool2d)
def _module(module: nn.AvgPool2d, shape: Shape) -> AvgPool2d:
    padding = pair(module.padding)
    if module.ceil_mode or module.divisor_override or (any(padding) and not module.count_include_pad):
        raise UnsupportedError("AvgPool2d with ceil_mode, divisor_override or count_include_pad=False")
    return AvgPool2d(pair(module.kernel_size), pair(module.stride), padding)


@call_rule(functional.avg_pool2d)
def _call(call: Call) -> AvgPool2d:
    if set(call.kwargs) - {"kernel_size", "stride", "padding"} or len(call.args) > 4:
        raise UnsupportedError(f"{call.where}: only kernel_size, stride and padding")
    kernel = pair(call.argument(1, "kernel_size", None))
    stride = call.argument(2, "stride", None)
    return AvgPool2d(kernel, pair(stride) if stride else kernel, pair(call.argument(3, "padding", 0)))
