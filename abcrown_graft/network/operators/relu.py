"""The ReLU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from abcrown_graft.geometry.box import Box
from abcrown_graft.network.onnx_writer import OnnxWriter
from abcrown_graft.network.operators.activation import Activation, Hinge
from abcrown_graft.network.operators.hinges import hinge_lines, hinge_slopes
from abcrown_graft.network.operators.operator import Shape
from abcrown_graft.network.relaxation import Relaxation
from abcrown_graft.network.translation import Call, call_rule, module_rule
from abcrown_graft.nn.sites import RELU_FUNCTIONS, RELU_METHODS


@dataclass(frozen=True, eq=False)
class ReLU(Activation):
    """`max(z, 0)`."""

    kinks = (0.0,)
    hinge = Hinge(slope=0.0, gain=1.0)
    monotone = True
    graftable = True
    roundings = 0

    def value(self, *inputs: Tensor) -> Tensor:
        (z,) = inputs
        return z.relu()

    def magnitude(self, *inputs: Tensor) -> Tensor:
        (z,) = inputs
        return z.relu()

    def relax(self, z: Box) -> Relaxation:
        return hinge_lines(z, 0.0)

    def slopes(self, z: Box) -> Box:
        return hinge_slopes(z, 0.0)

    def write_onnx(self, graph: OnnxWriter, sources: Sequence[str], shapes: tuple[Shape, ...], output: str) -> None:
        graph.call("Relu", sources, output)


@module_rule(nn.ReLU)
def _module(module: nn.ReLU, shape: Shape) -> ReLU:
    return ReLU()


@call_rule(*RELU_FUNCTIONS, *RELU_METHODS)
def _call(call: Call) -> ReLU:
    return ReLU()
