"""The grafted ReLU: a line where a neuron is grafted, a ReLU elsewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from abcrown_graft.geometry.box import Box
from abcrown_graft.network.onnx_writer import OnnxWriter, write_line
from abcrown_graft.network.operators.activation import Activation, Hinge
from abcrown_graft.network.operators.hinges import hinge_lines, hinge_slopes
from abcrown_graft.network.operators.operator import Shape
from abcrown_graft.network.operators.relu import ReLU
from abcrown_graft.network.relaxation import Relaxation
from abcrown_graft.network.translation import module_rule
from abcrown_graft.nn import activation


@dataclass(frozen=True, eq=False)
class GraftedReLU(Activation):
    """`slope * z + intercept` where `mask`, `max(z, 0)` elsewhere; all of the neurons' shape."""

    mask: Tensor
    slope: Tensor
    intercept: Tensor

    kinks = (0.0,)
    hinge = Hinge(slope=0.0, gain=1.0)
    monotone = False  # lines may fall
    graftable = True
    roundings = 8

    @property
    def grafted(self) -> Tensor:
        """The mask: these neurons have no kink."""
        return self.mask

    def ungrafted(self) -> ReLU:
        """What all neurons were before."""
        return ReLU()

    def value(self, *inputs: Tensor) -> Tensor:
        (z,) = inputs
        return torch.where(self.mask, self.slope * z + self.intercept, z.relu())

    def interval(self, *inputs: Box) -> Box:
        """Every neuron rises or falls everywhere."""
        (z,) = inputs
        return Box.hull(self.value(z.lower), self.value(z.upper))

    def magnitude(self, *inputs: Tensor) -> Tensor:
        plain = dataclasses.replace(self, slope=self.slope.abs(), intercept=self.intercept.abs())
        return plain.value(*inputs)

    def relax(self, z: Box) -> Relaxation:
        hinge = hinge_lines(z, 0.0)
        return Relaxation(
            torch.where(self.mask, self.slope, hinge.lower_slope),
            torch.where(self.mask, self.intercept, hinge.lower_intercept),
            torch.where(self.mask, self.slope, hinge.upper_slope),
            torch.where(self.mask, self.intercept, hinge.upper_intercept),
        )

    def slopes(self, z: Box) -> Box:
        hinge = hinge_slopes(z, 0.0)
        ends = (torch.where(self.mask, self.slope, ends) for ends in (hinge.lower, hinge.upper))
        return Box(*ends)

    def write_onnx(self, graph: OnnxWriter, sources: Sequence[str], shapes: tuple[Shape, ...], output: str) -> None:
        """`A z + B + relu(R z - m)` with `R = 1 - m`, `A = m slope`, `B = m intercept`: exact, also in float32.

        Where a neuron is grafted the ReLU gets the constant -1, so that every tool sees it as inactive. The
        subtraction is an addition of `-m`, which more of them know; α,β-CROWN's branching is one. The constants have
        no batch axis, of which α,β-CROWN warns where they are as large as the neurons.
        """
        if not bool(self.mask.any()):
            graph.call("Relu", sources, output)
            return
        (z,), mask = sources, self.mask
        nothing = torch.zeros_like(self.slope)
        slope, intercept = (torch.where(mask, t, nothing) for t in (self.slope, self.intercept))
        grafted = mask.to(self.slope)
        line = write_line(graph, z, slope, intercept, graph.inner(f"{output}/line"), f"{output}/line")
        gate = write_line(graph, z, 1 - grafted, -grafted, graph.inner(f"{output}/gate"), f"{output}/gate")
        kept = graph.call("Relu", [gate], graph.inner(f"{output}/relu"))
        graph.call("Add", [line, kept], output)


@module_rule(activation.GraftedReLU)
def grafted_relu(module: activation.GraftedReLU, shape: Shape) -> GraftedReLU:
    """The operator of a module; a subclass that computes the same files it under its own type."""
    return GraftedReLU(module.mask, module.slope, module.intercept)
