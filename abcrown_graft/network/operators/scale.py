"""Element-wise scaling and shift: normalisations, and arithmetic with constants."""

from __future__ import annotations

import dataclasses
import operator as python
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.sparse import csr_array, diags_array
from torch import Tensor, nn

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.geometry.box import Box
from abcrown_graft.network.onnx_writer import OnnxWriter, write_line
from abcrown_graft.network.operators.affine import AffineOperator, PulledBack, PulledBackWindows
from abcrown_graft.network.operators.operator import Shape
from abcrown_graft.network.translation import Call, call_rule, module_rule
from abcrown_graft.network.windows import Windows


@dataclass(frozen=True, eq=False)
class Scale(AffineOperator):
    """Element-wise `scale * x + shift`; both broadcast to the shape of `x` without batch."""

    scale: Tensor
    shift: Tensor

    element_wise = True
    roundings = 8
    mixes = False
    copies = False
    fan_in = None

    def value(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        return self.scale * x + self.shift

    def interval(self, *inputs: Box) -> Box:
        """From end to end, or back."""
        (x,) = inputs
        return Box.hull(self.value(x.lower), self.value(x.upper))

    def absolute(self) -> AffineOperator:
        return Scale(self.scale.abs(), self.shift.abs())

    def linear(self) -> AffineOperator:
        return dataclasses.replace(self, shift=torch.zeros_like(self.shift))

    def longest_sum(self, input_shapes: tuple[Shape, ...], shape: Shape) -> int:
        return torch.Size(shape).numel()

    def pull_back(self, coefficients: Tensor, input_shapes: tuple[Shape, ...]) -> PulledBack:
        shift = self.shift.expand(input_shapes[0]).reshape(-1)
        return (coefficients * self.scale,), coefficients.flatten(1) @ shift

    def matrices(self, input_shapes: tuple[Shape, ...], dtype: torch.dtype) -> tuple[csr_array, ...]:
        return (csr_array(diags_array(self.diagonal(input_shapes[0]).numpy())),)

    def constant(self, shape: Shape) -> Tensor:
        return self.shift.expand(shape).flatten()

    def entries(self, shape: Shape) -> int:
        return torch.Size(shape).numel()

    def diagonal(self, shape: Shape) -> Tensor:
        return self.scale.expand(shape).flatten()

    def takes_windows(self, shape: Shape) -> bool:
        """Where it acts per channel."""
        constants = (self.scale, self.shift)
        return all(t.numel() in (1, shape[0]) and t.shape[-2:].numel() <= 1 for t in constants)

    def window_before(self, h: int, w: int) -> tuple[int, int]:
        return h, w

    def pull_back_windows(self, windows: Windows, input_shapes: tuple[Shape, ...]) -> PulledBackWindows:
        scale, shift = (t.reshape(-1).expand(windows.shape[0]) for t in (self.scale, self.shift))
        scaled = dataclasses.replace(windows, values=windows.values * scale.view(-1, 1, 1))
        return (scaled,), windows.values.sum((2, 3)) @ shift

    def write_onnx(self, graph: OnnxWriter, sources: Sequence[str], shapes: tuple[Shape, ...], output: str) -> None:
        """The constants have a batch axis: α,β-CROWN's patches mode wants `(1, channels, 1, 1)` of a normalisation."""
        axes = len(shapes[0]) + 1
        scale, shift = (t.reshape((1,) * (axes - t.dim()) + t.shape) for t in (self.scale, self.shift))
        write_line(graph, sources[0], scale, shift, output, output)


@module_rule(nn.BatchNorm1d, nn.BatchNorm2d)
def _batch_norm(module: nn.BatchNorm1d | nn.BatchNorm2d, shape: Shape) -> Scale:
    if module.running_mean is None or module.running_var is None:
        raise UnsupportedError("batch normalisation without running statistics")
    double = torch.float64
    scale = torch.rsqrt(module.running_var.to(double) + module.eps)
    shift = -module.running_mean.to(double) * scale
    if module.affine:
        weight, bias = module.weight.to(double), module.bias.to(double)
        scale, shift = scale * weight, shift * weight + bias
    channels = (-1,) + (1,) * (len(shape) - 1)
    dtype = module.running_mean.dtype
    return Scale(scale.to(dtype).view(channels), shift.to(dtype).view(channels))


@call_rule(torch.sub, python.sub, "sub")
def _sub(call: Call) -> Scale:
    first, second = call.operands()
    if first and second:
        raise UnsupportedError(f"{call.where}: the difference of two tensors that depend on the input")
    if first:
        return Scale(call.args[0].new_ones(()), -call.constant(1, call.args[0]))
    return Scale(-call.args[1].new_ones(()), call.constant(0, call.args[1]))


@call_rule(torch.mul, python.mul, "mul")
def _mul(call: Call) -> Scale:
    first, second = call.operands()
    if first and second:
        raise UnsupportedError(f"{call.where}: the product of two tensors that depend on the input")
    x, other = (0, 1) if first else (1, 0)
    return Scale(call.constant(other, call.args[x]), call.args[x].new_zeros(()))


@call_rule(torch.div, python.truediv, "div")
def _div(call: Call) -> Scale:
    first, second = call.operands()
    if second or not first:
        raise UnsupportedError(f"{call.where}: division by a tensor that depends on the input")
    divisor = call.constant(1, call.args[0])
    return Scale((1 / divisor.double()).to(divisor.dtype), call.args[0].new_zeros(()))


def batch_norm_steps(module: nn.BatchNorm1d | nn.BatchNorm2d, shape: Shape) -> tuple[Scale, Scale]:
    """A batch normalisation as two operators, so that the magnitude of each of its terms shows."""
    whole = _batch_norm(module, shape)
    assert module.running_mean is not None  # that of the batch is refused
    mean = module.running_mean.view(-1, *(1,) * (len(shape) - 1))
    return Scale(torch.ones_like(mean), -mean), Scale(whole.scale, whole.shift + whole.scale * mean)
