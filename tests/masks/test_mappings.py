from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from abcrown_graft.errors import ConfigError, DataError
from abcrown_graft.masks.mappings import MAPPINGS

mappings = pytest.mark.parametrize("name", MAPPINGS.names())
finite = st.floats(-1e100, 1e100)


def tensor(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("norank", [0.2, 0, 0, 1, 0.2]),
        ("min", [2 / 4, 0, 0, 1, 2 / 4]),
        ("dense", [1 / 2, 0, 0, 1, 1 / 2]),
        ("ordinal", [2 / 4, 0, 1 / 4, 1, 3 / 4]),
        ("argsort", [2 / 4, 0, 1 / 4, 1, 3 / 4]),
    ],
)
def test_values_by_hand(name, expected):
    mapped = MAPPINGS[name](tensor([30.0, 20.0, 20.0, 70.0, 30.0]))
    torch.testing.assert_close(mapped, tensor(expected), rtol=0, atol=1e-15)


def test_these_are_all():
    assert MAPPINGS.names() == ("argsort", "dense", "min", "norank", "ordinal")


@mappings
@settings(deadline=None, max_examples=50)
@given(values=st.lists(finite, min_size=2, max_size=30))
def test_monotone_from_zero_to_one(name, values):
    mapped = MAPPINGS[name](tensor(values))
    assert mapped.dtype == torch.float64
    if len(set(values)) == 1:
        assert mapped.tolist() == [0.0] * len(values)
        return
    assert (float(mapped.min()), float(mapped.max())) == (0.0, 1.0)
    assert bool((mapped[tensor(values).argsort(stable=True)].diff() >= 0).all())


@mappings
@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_permuting_distinct_values_permutes_the_result(name, data):
    values = data.draw(st.lists(finite, min_size=1, max_size=20, unique=True))
    order = torch.tensor(data.draw(st.permutations(range(len(values)))))
    assert torch.equal(MAPPINGS[name](tensor(values)[order]), MAPPINGS[name](tensor(values))[order])


@mappings
@pytest.mark.parametrize("size", [0, 1, 5])
def test_constant_input_gives_zeros(name, size):
    assert MAPPINGS[name](torch.full((size,), 3.0)).tolist() == [0.0] * size


@mappings
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_refused(name, bad):
    with pytest.raises(DataError, match="only finite scores"):
        MAPPINGS[name](tensor([0.0, bad, 1.0]))


def test_an_unknown_mapping_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"unknown score mapping 'norm'; .*argsort, dense, min, norank, ordinal"):
        MAPPINGS["norm"]
