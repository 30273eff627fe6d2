from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from abcrown_graft.errors import ConfigError
from abcrown_graft.search.box_task import Lines
from abcrown_graft.search.input_branching import InputBranching
from abcrown_graft.search.input_split import chosen_axis
from abcrown_graft.search.options import INPUT_BRANCHING

WIDTH = torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.float64)
ALL = torch.ones(1, 3).bool()


def lines(coefficients: list, lower: list, steepest: list | None = None) -> Lines:
    """Of one box; by clause, literal and input."""
    given = torch.tensor([coefficients], dtype=torch.float64)
    slopes = given.abs() if steepest is None else torch.tensor([steepest], dtype=torch.float64)
    return Lines(given, torch.tensor([lower], dtype=torch.float64), slopes)


def axis(method: str, found: Lines, halvable: Tensor = ALL, clauses: Tensor | None = None, **options: float) -> int:
    known = found.lower.amax(2) if clauses is None else clauses
    return int(chosen_axis(WIDTH, halvable, found, known, InputBranching(method, **options)))


def test_naive_takes_the_longest_side():
    assert axis("naive", lines([[[9.0, 9.0, 0.0]]], [[-1.0]])) == 2


def test_sb_takes_the_input_along_which_the_line_varies_most():
    assert axis("sb", lines([[[-5.0, 2.0, 1.0]]], [[-1.0]])) == 0
    assert axis("sb", lines([[[-5.0, 3.0, 1.0]]], [[-1.0]])) == 1


def test_small_coefficients_count_as_the_threshold():
    found = lines([[[0.5, 0.0, 0.0]]], [[-1.0]])
    assert axis("sb", found) == 0
    assert axis("sb", found, sb_coeff_thresh=0.2) == 2


def test_the_literal_that_is_nearest_to_a_proof_counts_as_far_as_it_weighs():
    found = lines([[[9.0, 0.0, 0.0], [0.0, 1.0, 0.0]]], [[-9.0, -1.0]])
    assert axis("sb", found) == 1
    assert axis("sb", found, sb_margin_weight=0.1) == 0


def test_sb_sum_adds_what_is_open():
    found = lines([[[3.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]], [[0.0, 1.0, 0.0]]], [[-1.0], [-1.0], [-1.0]])
    assert axis("sb", found, sb_sum=True) == 1
    assert axis("sb", found, sb_sum=True, clauses=torch.tensor([[-1.0, 1.0, -1.0]])) == 0


@pytest.mark.parametrize("method", ["sb", "smear"])
def test_the_clause_of_the_smallest_bound_counts(method):
    found = lines([[[9.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]], [[-1.0], [-2.0]])
    assert axis(method, found) == 1
    assert axis(method, found, clauses=torch.tensor([[-math.inf, -2.0]])) == 0


def test_smear_takes_the_input_of_the_largest_influence():
    assert axis("smear", lines([[[1.0, 0.0, 0.0]]], [[-1.0]], [[[1.0, 3.0, 1.0]]])) == 1


@pytest.mark.parametrize("method", INPUT_BRANCHING.names())
def test_only_what_can_be_halved_is_taken(method):
    found = lines([[[9.0, 9.0, 9.0]]], [[-1.0]])
    assert axis(method, found, torch.tensor([[True, False, False]])) == 0
    assert axis(method, found, torch.zeros(1, 3).bool()) == -1


@pytest.mark.parametrize("method", INPUT_BRANCHING.names())
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nonsense_takes_an_input_that_can_be_halved(method, value):
    found = lines([[[value, value, value]]], [[value]], [[[value, value, value]]])
    assert axis(method, found, torch.tensor([[False, True, False]]), torch.tensor([[-math.inf]])) == 1


def test_an_unknown_rule_is_refused():
    with pytest.raises(ConfigError, match="known: naive, sb, smear"):
        axis("brute-force", lines([[[1.0, 1.0, 1.0]]], [[-1.0]]))
