"""Affine operators: `y = sum_i W_i x_i + b` over flattened tensors, for constants W_i and b."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from scipy.sparse import csr_array
from torch import Tensor

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.geometry.box import Box
from abcrown_graft.network.operators.operator import Operator, Shape
from abcrown_graft.network.windows import Windows

PulledBack = tuple[tuple[Tensor, ...], "Tensor | float"]
PulledBackWindows = tuple[tuple[Windows, ...], "Tensor | float"]


@dataclass(frozen=True, eq=False)
class AffineOperator(Operator, abstract=True):
    """Base of the affine operators."""

    @property
    @abstractmethod
    def mixes(self) -> bool:
        """Whether an output can depend on several numbers of the inputs."""

    @property
    @abstractmethod
    def copies(self) -> bool:
        """Whether several outputs can depend on one number of an input."""

    @property
    @abstractmethod
    def fan_in(self) -> int | None:
        """How many numbers an output is a weighted sum of, as initial weights are scaled by; None: no weights."""

    @abstractmethod
    def absolute(self) -> AffineOperator:
        """The operator with the absolute values |W_i| and |b|."""

    @abstractmethod
    def linear(self) -> AffineOperator:
        """The operator without b."""

    @abstractmethod
    def pull_back(self, coefficients: Tensor, input_shapes: tuple[Shape, ...]) -> PulledBack:
        """Linear functions of the output in terms of the inputs.

        Args:
            coefficients: `(rows, *output shape)`; a function's value is the inner product with the output.
            input_shapes: of the inputs.

        Returns:
            Coefficients `(rows, *shape)` for every input, and constants `(rows,)` or 0.
        """

    @abstractmethod
    def pull_back_windows(self, windows: Windows, input_shapes: tuple[Shape, ...]) -> PulledBackWindows:
        """As `pull_back`, where `takes_windows` holds: windows on every input, and constants `(rows,)` or 0."""

    @abstractmethod
    def matrices(self, input_shapes: tuple[Shape, ...], dtype: torch.dtype) -> tuple[csr_array, ...]:
        """W_i for every input, `(output neurons, input neurons)`; on the CPU.

        Args:
            input_shapes: of the inputs.
            dtype: of the entries where the operator itself has none.
        """

    @abstractmethod
    def constant(self, shape: Shape) -> Tensor | None:
        """b for the flattened output of the given shape; None is zero."""

    @abstractmethod
    def entries(self, shape: Shape) -> int:
        """At most how many entries the largest of the matrices stores, for an output of the given shape."""

    def interval(self, *inputs: Box) -> Box:
        """`W c + b ± |W| r` for boxes of centre c and radius r, the tightest interval.

        Source: Gowal et al. 2018, "On the effectiveness of interval bound propagation", eq. 5.
        """
        centre = self.value(*((x.lower + x.upper) / 2 for x in inputs))
        radius = self.linear().absolute().value(*((x.upper - x.lower) / 2 for x in inputs))
        return Box(centre - radius, centre + radius)

    def magnitude(self, *inputs: Tensor) -> Tensor:
        """|W| x + |b|."""
        return self.absolute().value(*inputs)

    @property
    def keeps_numbers(self) -> bool:
        """Whether the output is the only input's numbers in row-major order; False is always right, and slower."""
        return False

    def diagonal(self, shape: Shape) -> Tensor | float | None:
        """The number, or those of the flattened output, that every W_i has on its diagonal, if nothing lies beside.

        None is always right: then the matrices are used.
        """
        return None

    def scaled(self, scale: Tensor, shift: Tensor, shape: Shape) -> AffineOperator | None:
        """The operator followed by `scale * y + shift` for its output of the given shape; None: they stay two."""
        return None


@dataclass(frozen=True, eq=False)
class NonNegative(AffineOperator, abstract=True):
    """Base of the operators without constants: no b, and no W_i with a negative entry or a learned weight."""

    fan_in = None

    def absolute(self) -> AffineOperator:
        """The operator itself."""
        return self

    def linear(self) -> AffineOperator:
        """The operator itself."""
        return self

    def constant(self, shape: Shape) -> None:
        """Zero."""
        return None

    def interval(self, *inputs: Box) -> Box:
        """From end to end."""
        return Box(self.value(*(x.lower for x in inputs)), self.value(*(x.upper for x in inputs)))


@dataclass(frozen=True, eq=False)
class WithoutWindows(AffineOperator, abstract=True):
    """Base of the operators that have no rule for windows: what comes after them is bounded on whole maps."""

    def takes_windows(self, shape: Shape) -> bool:
        """No."""
        return False

    def window_before(self, h: int, w: int) -> tuple[int, int]:
        """None."""
        raise UnsupportedError(f"operator {type(self).__name__} has no rule for windows")

    def pull_back_windows(self, windows: Windows, input_shapes: tuple[Shape, ...]) -> PulledBackWindows:
        """None."""
        raise UnsupportedError(f"operator {type(self).__name__} has no rule for windows")
