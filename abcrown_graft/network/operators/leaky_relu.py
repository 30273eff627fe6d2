"""The leaky ReLU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.geometry.box import Box
from abcrown_graft.network.onnx_writer import OnnxWriter
from abcrown_graft.network.operators.activation import Activation, Hinge
from abcrown_graft.network.operators.hinges import hinge_lines, hinge_slopes
from abcrown_graft.network.operators.operator import Shape
from abcrown_graft.network.relaxation import Relaxation
from abcrown_graft.network.translation import Call, call_rule, module_rule


@dataclass(frozen=True, eq=False)
class LeakyReLU(Activation):
    """`max(z, 0) + negative_slope * min(z, 0)` with `0 <= negative_slope <= 1`."""

    negative_slope: float

    kinks = (0.0,)
    monotone = True
    graftable = False
    roundings = 8

    @property
    def hinge(self) -> Hinge:
        """`s z + (1 - s) max(z, 0)`."""
        return Hinge(self.negative_slope, 1 - self.negative_slope)

    def value(self, *inputs: Tensor) -> Tensor:
        (z,) = inputs
        return functional.leaky_relu(z, self.negative_slope)

    def magnitude(self, *inputs: Tensor) -> Tensor:
        (z,) = inputs
        return z

    def relax(self, z: Box) -> Relaxation:
        return hinge_lines(z, self.negative_slope)

    def slopes(self, z: Box) -> Box:
        return hinge_slopes(z, self.negative_slope)

    def write_onnx(self, graph: OnnxWriter, sources: Sequence[str], shapes: tuple[Shape, ...], output: str) -> None:
        graph.call("LeakyRelu", sources, output, alpha=self.negative_slope)


def _leaky_relu(slope: float) -> LeakyReLU:
    """Refuses a slope with which the function is not convex and monotone."""
    if not 0 <= slope <= 1:
        raise UnsupportedError(f"LeakyReLU with negative_slope {slope}; it must lie in [0, 1]")
    return LeakyReLU(float(slope))


@module_rule(nn.LeakyReLU)
def _module(module: nn.LeakyReLU, shape: Shape) -> LeakyReLU:
    return _leaky_relu(module.negative_slope)


@call_rule(functional.leaky_relu)
def _call(call: Call) -> LeakyReLU:
    return _leaky_relu(call.argument(1, "negative_slope", 0.01))
