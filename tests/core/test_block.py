from __future__ import annotations

import pytest
import torch

from abcrown_graft.core.block import SPARSE_BELOW, Block


def matrix(share: float, rows: int = 30, columns: int = 20) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    return values * (torch.rand(rows, columns, generator=generator) < share)


BLOCKS = [matrix(0.05), matrix(0.9), matrix(0.0), matrix(1.0), matrix(1.0, 0, 3), matrix(1.0, 3, 0), matrix(0.1, 1, 50)]


@pytest.mark.parametrize("dense", BLOCKS, ids=lambda m: f"{tuple(m.shape)} with {int(m.count_nonzero())}")
@pytest.mark.parametrize("batch", [0, 1, 7])
def test_products_are_those_of_the_matrix(dense, batch):
    block = Block.of(dense)
    rows, columns = dense.shape
    x, p = torch.randn(columns, batch, dtype=torch.float64), torch.randn(rows, batch, dtype=torch.float64)
    torch.testing.assert_close(block @ x, dense @ x)
    torch.testing.assert_close(block.transpose_times(p), dense.T @ p)
    torch.testing.assert_close(block.magnitude @ x, dense.abs() @ x)
    torch.testing.assert_close(block.magnitude.transpose_times(p), dense.abs().T @ p)
    assert torch.equal(block.dense(), dense)
    assert block.nonzeros == block.magnitude.nonzeros == int(dense.count_nonzero())


@pytest.mark.parametrize("dense", BLOCKS[:2], ids=["sparse", "dense"])
def test_another_precision(dense):
    block = Block.of(dense)
    single = block.to(dtype=torch.float32)
    assert torch.equal(single.dense(), dense.float())
    assert single.matrix.layout == block.matrix.layout
    x = torch.randn(30, 2)
    torch.testing.assert_close(single.transpose_times(x), dense.float().T @ x)
    assert torch.equal(block.to().dense(), dense)


def test_few_nonzeros_are_compressed_and_many_are_not():
    assert Block.of(matrix(0.5 * SPARSE_BELOW)).matrix.layout == torch.sparse_csr
    assert Block.of(matrix(0.5 * SPARSE_BELOW)).transposed.layout == torch.sparse_csr
    assert Block.of(matrix(2 * SPARSE_BELOW)).matrix.layout == torch.strided


def test_what_is_not_a_number_is_no_zero():
    dense = torch.zeros(5, 5, dtype=torch.float64)
    dense[2, 3] = torch.nan
    assert (Block.of(dense) @ torch.ones(5, 1, dtype=torch.float64)).isnan().flatten().tolist() == [0, 0, 1, 0, 0]
