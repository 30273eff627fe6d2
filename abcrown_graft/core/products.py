"""Products with a matrix per core, for a batch whose columns belong to several cores.

On a GPU they are one batched dense product over columns that are packed into equally wide groups; on a CPU one
product per core, in the core's own blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from abcrown_graft.core.block import Block


@dataclass(frozen=True, eq=False)
class Columns:
    """Which core each column of a batch belongs to.

    Attributes:
        owner: the core's number, ascending, `(batch,)`.
        groups: the columns of each core.
    """

    owner: Tensor
    groups: tuple[slice, ...]

    @classmethod
    def of(cls, owner: Tensor, cores: int) -> Columns:
        """Groups a batch by the cores of its columns; on a GPU, this waits for `owner` to be computed."""
        counts = torch.bincount(owner, minlength=cores).tolist()
        return cls(owner, tuple(slice(first, last) for first, last in pairwise(accumulate([0, *counts]))))

    @cached_property
    def width(self) -> int:
        """Columns of the largest group."""
        return max((group.stop - group.start for group in self.groups), default=0)

    @cached_property
    def place(self) -> Tensor:
        """Where each column lies among the packed ones, `(batch,)`."""
        starts = torch.tensor([group.start for group in self.groups], device=self.owner.device)
        number = torch.arange(len(self.owner), device=self.owner.device)
        return self.owner * self.width + number - starts[self.owner]

    def packed(self, columns: Tensor) -> Tensor:
        """`(n, batch)` as `(cores, width, n)`, zero where a group is narrower."""
        out = columns.new_zeros(len(self.groups) * self.width, len(columns))
        return out.index_copy_(0, self.place, columns.T).view(len(self.groups), self.width, len(columns))

    def unpacked(self, packed: Tensor) -> Tensor:
        """The inverse of `packed`."""
        return packed.flatten(0, 1).index_select(0, self.place).T


class Stack:
    """A matrix for each core, some smaller than others, some without entries.

    Attributes:
        blocks: one for each core, None where all is zero.
        shape: `(rows, columns)` of the largest.
    """

    def __init__(self, blocks: Sequence[Block | None], shape: tuple[int, int]) -> None:
        self.blocks, self.shape = tuple(blocks), shape

    @cached_property
    def dense(self) -> Tensor:
        """All of them, `(cores, rows, columns)`."""
        like = next(block for block in self.blocks if block is not None).matrix
        out = torch.zeros(len(self.blocks), *self.shape, dtype=like.dtype, device=like.device)
        for number, block in enumerate(self.blocks):
            if block is not None:
                matrix = block.dense()
                out[number, : matrix.shape[0], : matrix.shape[1]] = matrix
        return out


@dataclass(frozen=True, eq=False)
class Product:
    """A stack as the columns of a batch see it; multiplies as a `Block` does."""

    columns: Columns
    stack: Stack
    batched: bool

    def __matmul__(self, values: Tensor) -> Tensor:
        """`(columns, batch)` to `(rows, batch)`."""
        if self.batched:
            return self.columns.unpacked(self.columns.packed(values) @ self.stack.dense.mT)
        return self._one_by_one(values, lambda block: block.matrix, self.stack.shape[0])

    def transpose_times(self, values: Tensor) -> Tensor:
        """`(rows, batch)` to `(columns, batch)`."""
        if self.batched:
            return self.columns.unpacked(self.columns.packed(values) @ self.stack.dense)
        return self._one_by_one(values, lambda block: block.transposed, self.stack.shape[1])

    def _one_by_one(self, values: Tensor, matrix: Callable[[Block], Tensor], rows: int) -> Tensor:
        out = values.new_zeros(rows, values.shape[1])
        for block, group in zip(self.stack.blocks, self.columns.groups, strict=True):
            if block is not None and group.stop > group.start:
                own = matrix(block)
                out[: own.shape[0], group] = own @ values[: own.shape[1], group]
        return out
