from __future__ import annotations

import numpy as np
import pytest
import torch

from abcrown_graft.formats.vnnlib.query import Clause, Query
from abcrown_graft.formats.vnnlib.specify import to_specification


def random_query(generator: np.random.Generator, inputs: int, clauses: list[int]) -> Query:
    unsafe = [Clause(generator.normal(size=(n, 3)), generator.normal(size=n)) for n in clauses]
    lower = generator.normal(size=inputs)
    return Query(lower, lower + generator.random(inputs), tuple(unsafe))


def test_boxes_and_shapes():
    generator = np.random.default_rng(0)
    found = [random_query(generator, 12, sizes) for sizes in ([1], [2, 1, 3], [1, 1])]
    specification = to_specification(found, (3, 2, 2))
    assert specification.rows.shape == (3, 3, 3, 3) and specification.offsets.shape == (3, 3, 3)
    assert specification.box.lower.shape == (3, 3, 2, 2)
    for k, query in enumerate(found):
        assert np.array_equal(specification.box.lower[k].flatten(), query.lower)
        assert np.array_equal(specification.box.upper[k].flatten(), query.upper)
    dtypes = {t.dtype for t in (specification.box.lower, specification.rows, specification.offsets)}
    assert dtypes == {torch.float64}


def test_an_output_is_unsafe_for_the_query_where_the_margin_is_not_positive():
    generator = np.random.default_rng(1)
    found = [random_query(generator, 2, sizes) for sizes in ([1], [2, 1, 3], [4, 1], [2, 2])]
    outputs = generator.normal(size=(200, 3))
    specification = to_specification(found)
    seen = set()
    for output in outputs:
        margins = specification.margins(torch.from_numpy(output).expand(4, -1))
        for query, margin in zip(found, margins.tolist(), strict=True):
            unsafe = any(clause.contains(output) for clause in query.unsafe)
            assert unsafe == (margin <= 0)
            seen.add(unsafe)
    assert seen == {True, False}


def test_unsafe_everywhere_has_margin_zero():
    query = Query(np.zeros(1), np.ones(1), (Clause(np.zeros((0, 2)), np.zeros(0)), Clause(np.eye(2), np.zeros(2))))
    specification = to_specification([query])
    assert specification.margins(torch.tensor([[7.0, 9.0]], dtype=torch.float64)).tolist() == [0.0]


def test_nothing_to_prove_is_no_batch():
    with pytest.raises(ValueError, match="no queries"):
        to_specification([])


def test_the_shape_must_have_as_many_inputs():
    query = random_query(np.random.default_rng(0), 6, [1])
    with pytest.raises(ValueError, match=r"a query has 6 inputs, the shape is \(1, 5\)"):
        to_specification([query], (1, 5))
