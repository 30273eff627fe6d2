"""Matrices of operators that read numbers."""

from __future__ import annotations

import torch

from abcrown_graft.network.matrices import identity, numbered, reading


def test_numbers_count_from_one():
    assert numbered((2, 2)).tolist() == [[1, 2], [3, 4]]


def test_rows_hold_the_weights_of_what_they_read():
    found = reading(torch.tensor([[3, 0], [1, 2]]), torch.tensor([[5.0, 9.0], [0.0, 7.0]]), (3,))
    assert found.toarray().tolist() == [[0, 0, 5], [0, 7, 0]]
    assert found.nnz == 2, "neither what is read outside nor a zero takes room"


def test_the_identity():
    assert identity((2,), torch.float32).toarray().tolist() == [[1, 0], [0, 1]]
