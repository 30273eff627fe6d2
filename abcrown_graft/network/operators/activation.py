"""Activations: element-wise non-linear operators, and what they declare of themselves."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from abcrown_graft.geometry.box import Box
from abcrown_graft.network.operators.operator import Operator, Shape
from abcrown_graft.network.relaxation import Relaxation


@dataclass(frozen=True)
class Hinge:
    """The function `slope * z + gain * max(z, 0)`."""

    slope: float
    gain: float


@dataclass(frozen=True, eq=False)
class Activation(Operator, abstract=True):
    """Base of the activations.

    Raises:
        TypeError: as `Operator`, and for one that is not declared monotone and has no rule `interval` of its own.
    """

    element_wise = True

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(abstract=abstract, **kwargs)
        if not abstract and cls.monotone is not True and cls.interval is Activation.interval:
            raise TypeError(f"operator {cls.__name__} does not define interval, and is not declared monotone")

    @property
    @abstractmethod
    def kinks(self) -> tuple[float, ...] | None:
        """Points between which every neuron is a line; None: the function is not piecewise linear.

        A neuron whose interval has no kink inside is taken to be exactly its `relax` line there.
        """

    @property
    @abstractmethod
    def hinge(self) -> Hinge | None:
        """The function of every neuron that is not grafted, at every z; None: it is not of that form.

        The core takes `max(z, 0)` for its variable; an activation without a hinge cannot be part of one.
        """

    @property
    @abstractmethod
    def monotone(self) -> bool:
        """Whether no neuron's function ever falls."""

    @property
    @abstractmethod
    def graftable(self) -> bool:
        """Whether neurons can be grafted: it is a ReLU, grafted or not."""

    @property
    def grafted(self) -> Tensor | None:
        """Boolean, of the neurons' shape: which are lines wherever z is; None is none of them."""
        return None

    @abstractmethod
    def relax(self, z: Box) -> Relaxation:
        """Lines that enclose the function on the box of its inputs; both the exact one where no kink lies inside."""

    @abstractmethod
    def slopes(self, z: Box) -> Box:
        """The derivatives `(batch, *neurons)` that the function can have on the box of its inputs."""

    def unstable(self, z: Box) -> Tensor:
        """Boolean `(batch, *neurons)`: which are not known to be a line on their interval; NaN knows nothing."""
        if self.kinks is None:
            return torch.ones_like(z.lower, dtype=torch.bool)
        found = torch.zeros_like(z.lower, dtype=torch.bool)
        for kink in self.kinks:
            found = found | ~((z.lower >= kink) | (z.upper <= kink))
        return found if self.grafted is None else found & ~self.grafted

    def interval(self, *inputs: Box) -> Box:
        """From end to end, of what is monotone."""
        (z,) = inputs
        return Box(self.value(z.lower), self.value(z.upper))

    def longest_sum(self, input_shapes: tuple[Shape, ...], shape: Shape) -> int:
        """A pass through lines adds up the intercepts of all neurons."""
        return torch.Size(shape).numel()

    def takes_windows(self, shape: Shape) -> bool:
        """Lines leave a window where it is."""
        return True

    def window_before(self, h: int, w: int) -> tuple[int, int]:
        """The window itself."""
        return h, w
