"""The operators a network is made of: affine maps and element-wise activations, as plain data.

Shapes leave the batch out: an image is `(channels, height, width)`. What an operator *does* is a
table of rules elsewhere, one file per question: `forward.py` (its value), `bounds/interval.py`,
`bounds/adjoint.py` and `bounds/relaxation.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Operator:
    """Base of all operators; every tensor field is a constant of the network."""

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> Operator:
        """The same operator with `function` applied to each of its tensors."""
        changed = {name: function(value) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return dataclasses.replace(self, **changed) if changed else self


@dataclass(frozen=True, eq=False)
class Input(Operator):
    """The network's input."""


@dataclass(frozen=True, eq=False)
class Conv2d(Operator):
    """2-D convolution with zero padding; weight `(out, in / groups, kh, kw)`, bias `(out,)`."""

    weight: Tensor
    bias: Tensor
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


@dataclass(frozen=True, eq=False)
class Linear(Operator):
    """`weight @ x + bias` over the last axis, for each row of the others; weight `(out, in)`, bias `(out,)`."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, eq=False)
class AvgPool2d(Operator):
    """Average pooling; padded zeros count as pixels."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Pad(Operator):
    """Zero padding of the last axes, in the order of `torch.nn.functional.pad`."""

    amounts: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Reshape(Operator):
    """The same numbers in row-major order under another shape."""

    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Select(Operator):
    """Every output is one number of the flattened input, or zero: transposes, slices, broadcasts.

    `index`, of the output's shape, numbers the inputs from 1; 0 is a zero.
    """

    index: Tensor

    @property
    def repeats(self) -> int:
        """How often the input that is read most is read."""
        return int(self.index[self.index > 0].flatten().bincount(minlength=1).amax())


@dataclass(frozen=True, eq=False)
class Add(Operator):
    """Sum of two tensors of one shape."""


@dataclass(frozen=True, eq=False)
class Concat(Operator):
    """Concatenation along `axis` (not counting the batch)."""

    axis: int


@dataclass(frozen=True, eq=False)
class Scale(Operator):
    """Element-wise `scale * x + shift`; both broadcast to the shape of `x` without batch."""

    scale: Tensor
    shift: Tensor


@dataclass(frozen=True, eq=False)
class Activation(Operator):
    """Base of the element-wise non-linear operators."""


@dataclass(frozen=True, eq=False)
class ReLU(Activation):
    """`max(z, 0)`."""


@dataclass(frozen=True, eq=False)
class LeakyReLU(Activation):
    """`max(z, 0) + negative_slope * min(z, 0)` with `0 <= negative_slope <= 1`."""

    negative_slope: float


@dataclass(frozen=True, eq=False)
class GraftedReLU(Activation):
    """`slope * z + intercept` where `mask`, `max(z, 0)` elsewhere; all of the neurons' shape."""

    mask: Tensor
    slope: Tensor
    intercept: Tensor
