from __future__ import annotations

import pytest
import torch
from sample_cores import KINDS, flat_points, instance

from abcrown_graft.core.block import Block
from abcrown_graft.core.core import Core, Layer, evaluate_core

pytestmark = pytest.mark.usefixtures("one_thread")


def row(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


def chain() -> Core:
    """z₀ = 2x - 1, z₁ = x - 3 relu(z₀) + 0.5, margin = x + relu(z₀) - 2 relu(z₁) + 4, for x in [0, 2]."""
    one = torch.zeros(1, dtype=torch.int64)
    first = Layer("a", one, row(-1.0)[0], row(3.0)[0], Block.of(row(2.0)), {}, row(-1.0)[0], row(0.0)[0])
    second = Layer(
        "b", one, row(-6.5)[0], row(2.5)[0], Block.of(row(1.0)), {0: Block.of(row(-3.0))}, row(0.5)[0], row(0.0)[0]
    )
    out = (Block.of(row(1.0)), (Block.of(row(1.0)), Block.of(row(-2.0))), row(4.0)[0], row(0.0)[0], torch.tensor([0]))
    return Core(row(0.0)[0], row(2.0)[0], (first, second), *out)


def test_a_core_computed_by_hand():
    margins, (first, second) = evaluate_core(chain(), row(0.0, 1.0, 2.0))
    assert first.tolist() == [[-1.0, 1.0, 3.0]]
    assert second.tolist() == [[0.5, -1.5, -6.5]]
    assert margins.tolist() == [[4.0 + 0.0 - 1.0, 4.0 + 1.0 + 1.0, 4.0 + 2.0 + 3.0]]


def test_sizes_and_multiply_adds():
    assert chain().sizes == [1, 1]
    assert chain().nonzeros == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_in_float32_is_the_same_core(kind):
    found = instance(kind, 1)
    single = found.core.to(dtype=torch.float32)
    assert single.sizes == found.core.sizes and single.nonzeros == found.core.nonzeros
    points = flat_points(found.box, 50)
    margins, values = evaluate_core(single, points.float())
    exact, z = evaluate_core(found.core, points)
    assert margins.dtype == torch.float32
    torch.testing.assert_close(margins.double(), exact, rtol=1e-4, atol=1e-4)
    for got, want in zip(values, z, strict=True):
        torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-4)
    for layer, copy in zip(found.core.layers, single.layers, strict=True):
        assert (layer.site, layer.neurons.tolist()) == (copy.site, copy.neurons.tolist())
        for name in ("lower", "upper", "constant", "error"):
            assert torch.equal(getattr(layer, name).float(), getattr(copy, name))
    assert torch.equal(single.out_error, found.core.out_error.float())
    assert single.lower.dtype == single.upper.dtype == torch.float32
    assert (single.lower.double() <= found.core.lower).all() and (single.upper.double() >= found.core.upper).all()
