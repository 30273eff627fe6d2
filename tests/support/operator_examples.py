"""Examples of every operator, in float64, and what is asked of all of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from abcrown_graft.geometry.box import Box
from abcrown_graft.network import operators as op

IMAGE = (4, 6, 5)


@dataclass(frozen=True, eq=False)
class Example:
    """An operator and the shapes of its inputs."""

    operator: op.Operator
    input_shapes: tuple[tuple[int, ...], ...] = (IMAGE,)

    def inputs(self, batch: int = 1) -> list[Tensor]:
        """Random inputs `(batch, *shape)`."""
        return [randn(batch, *shape) for shape in self.input_shapes]

    def boxes(self, batch: int = 3) -> list[Box]:
        """Random boxes of inputs; some sides are of zero length."""
        radii = (torch.rand_like(x).sub(0.1).clamp(min=0) for x in self.inputs(batch))
        return [Box(x - radius, x + radius) for x, radius in zip(self.inputs(batch), radii, strict=True)]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the output."""
        return tuple(
            self.operator.value(*(torch.zeros(1, *s, dtype=torch.float64) for s in self.input_shapes)).shape[1:]
        )


def randn(*size: int) -> Tensor:
    """Random numbers of both signs, the same in every run."""
    return torch.randn(size, dtype=torch.float64)


def _conv(stride: int, padding: int, dilation: int, groups: int) -> op.Conv2d:
    weight = randn(2 * groups, 4 // groups, 3, 2)
    return op.Conv2d(weight, randn(2 * groups), (stride, 1), (padding, padding), (1, dilation), groups)


def affine_examples() -> dict[str, Example]:
    """By a name of each, affine operators of all kinds."""
    torch.manual_seed(0)
    convolutions = {
        f"conv {s}{p}{d}{g}": Example(_conv(s, p, d, g))
        for s, p, d, g in ((1, 0, 1, 1), (2, 1, 1, 1), (3, 1, 2, 1), (1, 1, 1, 2), (2, 0, 2, 4))
    }
    permuted = torch.arange(1, 121).view(IMAGE).permute(1, 2, 0).contiguous()
    return {
        **convolutions,
        "pool": Example(op.AvgPool2d((2, 2), (2, 2), (0, 0))),
        "overlapping pool": Example(op.AvgPool2d((3, 2), (1, 2), (1, 1))),
        "pad": Example(op.Pad((1, 2, 0, 3))),
        "crop": Example(op.Pad((-1, 1, 0, -2))),
        "flatten": Example(op.Reshape((120,))),
        "reshape": Example(op.Reshape((6, 20))),
        "select": Example(op.Select(torch.tensor([[0, 5, 5], [120, 1, 0]]))),
        "transpose": Example(op.Select(permuted)),
        "scale per channel": Example(op.Scale(randn(4, 1, 1), randn(4, 1, 1))),
        "scale per neuron": Example(op.Scale(randn(6, 5), randn(*IMAGE))),
        "scale and shift by numbers": Example(op.Scale(randn(), randn())),
        "linear": Example(op.Linear(randn(3, 7), randn(3)), ((7,),)),
        "linear in every row": Example(op.Linear(randn(3, 5), randn(3))),
        "add": Example(op.Add(), (IMAGE, IMAGE)),
        "concat channels": Example(op.Concat(0), ((1, 6, 5), (2, 6, 5))),
        "concat columns": Example(op.Concat(2), ((4, 6, 2), (4, 6, 3))),
    }


def activation_examples() -> dict[str, Example]:
    """By a name of each, activations of all kinds."""
    torch.manual_seed(1)
    mask = torch.rand(IMAGE) < 0.5
    return {
        "relu": Example(op.ReLU()),
        "leaky relu": Example(op.LeakyReLU(0.3)),
        "identity": Example(op.LeakyReLU(1.0)),
        "grafted": Example(op.GraftedReLU(mask, randn(*IMAGE), randn(*IMAGE))),
        "pruned": Example(op.GraftedReLU(mask | ~mask, 0 * randn(*IMAGE), 0 * randn(*IMAGE))),
        "nothing grafted": Example(op.GraftedReLU(mask & ~mask, randn(*IMAGE), randn(*IMAGE))),
    }


def examples() -> dict[str, Example]:
    """All of them."""
    return {**affine_examples(), **activation_examples()}
