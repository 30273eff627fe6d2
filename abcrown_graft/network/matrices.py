"""Sparse matrices of operators that read numbers of a flattened tensor."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_array, diags_array
from torch import Tensor


def numbered(shape: tuple[int, ...]) -> Tensor:
    """The tensor of the given shape that numbers its elements from 1."""
    return torch.arange(1, torch.Size(shape).numel() + 1).view(shape)


def reading(read: Tensor, weight: Tensor, shape: tuple[int, ...]) -> csr_array:
    """The matrix `(rows, numbers of shape)` whose row i holds `weight[i]` in the columns `read[i] - 1`.

    Args:
        read: what each row reads, numbered as in `numbered`; 0 is nothing, `(rows, terms)`.
        weight: `(rows, terms)`; zeros are left out.
        shape: of the tensor that is read.
    """
    kept = (read > 0) & (weight != 0)
    starts = np.concatenate([[0], kept.sum(1).cumsum(0).numpy()])
    size = (len(read), torch.Size(shape).numel())
    return csr_array((weight[kept].numpy(), (read[kept] - 1).numpy(), starts), shape=size)


def identity(shape: tuple[int, ...], dtype: torch.dtype) -> csr_array:
    """The matrix that leaves a flattened tensor of the given shape as it is."""
    return csr_array(diags_array(torch.ones(torch.Size(shape).numel(), dtype=dtype).numpy()))
