"""Constant matrices of a core, stored in whatever form multiplies fastest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from abcrown_graft.bounds.sparse import csr_tensor

SPARSE_BELOW = 0.25  # share of non-zeros under which compressed rows beat a dense product on a CPU


@dataclass(frozen=True, eq=False)
class Block:
    """A matrix and its transpose, each dense or in compressed sparse rows.

    Attributes:
        matrix: `(rows, columns)`.
        transposed: `(columns, rows)`.
        nonzeros: number of entries that are not zero.
    """

    matrix: Tensor
    transposed: Tensor
    nonzeros: int

    @classmethod
    def of(cls, dense: Tensor) -> Block:
        """The block of a dense matrix."""
        nonzeros = int(torch.count_nonzero(dense))
        if nonzeros >= SPARSE_BELOW * dense.numel():
            return cls(dense, dense.T.contiguous(), nonzeros)
        return cls(_compressed(dense), _compressed(dense.T), nonzeros)

    def __matmul__(self, columns: Tensor) -> Tensor:
        """`matrix @ columns`, for `columns` of shape `(columns, batch)`."""
        return self.matrix @ columns

    def transpose_times(self, columns: Tensor) -> Tensor:
        """`matrix.T @ columns`, for `columns` of shape `(rows, batch)`."""
        return self.transposed @ columns

    def dense(self) -> Tensor:
        """The matrix as a dense tensor."""
        return self.matrix if self.matrix.layout == torch.strided else self.matrix.to_dense()

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Block:
        """The same block elsewhere or in another precision."""
        matrix, transposed = (t.to(device=device, dtype=dtype) for t in (self.matrix, self.transposed))
        return Block(matrix, transposed, self.nonzeros)

    @cached_property
    def magnitude(self) -> Block:
        """The block of absolute values."""
        return Block(_absolute(self.matrix), _absolute(self.transposed), self.nonzeros)


def _absolute(matrix: Tensor) -> Tensor:
    if matrix.layout == torch.strided:
        return matrix.abs()
    return csr_tensor(matrix.crow_indices(), matrix.col_indices(), matrix.values().abs(), matrix.shape)


def _compressed(dense: Tensor) -> Tensor:
    rows, columns = dense.nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=len(dense))
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return csr_tensor(starts, columns, dense[rows, columns], dense.shape)
