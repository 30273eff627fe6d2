from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sample_cores import instance, random_duals

from abcrown_graft.core.core import Core
from abcrown_graft.core.dual import Optimized, dual_bound
from abcrown_graft.errors import AbcrownGraftError
from abcrown_graft.search.branching import REDUCE, BranchingSettings, gap_scores, intercept_scores
from abcrown_graft.search.optimize import AdamSettings, optimize
from abcrown_graft.search.options import BRANCHING

pytestmark = pytest.mark.usefixtures("one_thread")

METHODS = ("kfsb", "babsr", "random")


def found_in(seed: int, share: float = 0.3, batch: int = 16, kind: str = "dense") -> tuple[Core, Optimized]:
    """Optimised subproblems in each of which a neuron is free."""
    core = instance(kind, seed).core
    duals = random_duals(core, batch, seed, share)
    free = seed % len(duals.split)
    duals.split[free], duals.slack[free] = 0, 0
    return core, optimize(core, duals, AdamSettings(3, 0.1, 0.1))


def choose(method: str, core: Core, found: Optimized, **options) -> torch.Tensor:
    return BRANCHING[method](core, found, BranchingSettings(method, **options))


def test_the_rules_have_alpha_beta_crowns_names():
    assert BRANCHING.names() == tuple(sorted(METHODS))
    assert BranchingSettings() == BranchingSettings("kfsb", 3, "min", 100)
    with pytest.raises(AbcrownGraftError, match=r"sr.*kfsb"):
        BRANCHING["sr"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("kind", ["dense", "residual", "leaky"])
def test_a_split_neuron_is_never_chosen(method, share, kind):
    for seed in (0, 2, 3, 9):
        core, found = found_in(seed, share, kind=kind)
        chosen = choose(method, core, found)
        assert chosen.shape == (16,)
        assert (found.duals.split.gather(0, chosen.unsqueeze(0)) == 0).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
def test_nor_where_scores_are_not_numbers(method, wrong):
    core, found = found_in(3, 0.6)
    broken = replace(found, values=torch.full_like(found.values, wrong))
    chosen = choose(method, replace(core, out_constant=core.out_constant + wrong), broken)
    assert (found.duals.split.gather(0, chosen.unsqueeze(0)) == 0).all()


@pytest.mark.parametrize("candidates", [1, 3, 1000])
@pytest.mark.parametrize("reduceop", sorted(REDUCE))
def test_kfsb_takes_the_best_of_its_candidates(candidates, reduceop):
    core, found = found_in(2, batch=8)
    chosen = choose("kfsb", core, found, candidates=candidates, reduceop=reduceop)
    gap, intercept = gap_scores(found), intercept_scores(found)
    for column in range(8):
        free = {k for k in range(len(gap)) if found.duals.split[k, column] == 0}
        ranks = [score[:, column].argsort(descending=True).tolist()[:candidates] for score in (gap, intercept)]
        values = {k: child_value(core, found, k, column, reduceop) for k in free & {*ranks[0], *ranks[1]}}
        assert values[int(chosen[column])] == pytest.approx(max(values.values()), abs=1e-12)


def child_value(core: Core, found: Optimized, neuron: int, column: int, reduceop: str) -> float:
    one = found.duals[slice(column, column + 1)]
    lower = []
    for sign in (1.0, -1.0):
        split, slack = one.split.clone(), one.slack.clone()
        split[neuron], slack[neuron] = sign, 0
        lower.append(float(dual_bound(core, replace(one, split=split, slack=slack)).lower[0]))
    return {"min": min(lower), "max": max(lower), "mean": sum(lower) / 2}[reduceop]


def test_reductions_differ():
    chosen = set()
    for reduceop in REDUCE:
        picks = [choose("kfsb", *found_in(s), candidates=9, reduceop=reduceop) for s in (2, 3, 8, 17)]
        chosen.add(tuple(torch.cat(picks).tolist()))
    assert sorted(REDUCE) == ["max", "mean", "min"] and len(chosen) == 3


def test_the_gap_is_what_the_relaxation_gives_away():
    """Neurons whose line meets relu at the primal point give nothing away; split ones are out."""
    _, found = found_in(3)
    gap, intercept = gap_scores(found), intercept_scores(found)
    split = found.duals.split != 0
    assert (gap[split] == -1).all() and (intercept[split] == -1).all()
    assert (gap[~split] >= 0).all() and (intercept[~split] >= 0).all()
    line = found.bound.slope * found.values + found.bound.intercept
    tight = ~split & (line == found.values.clamp(min=0))
    assert (gap[tight] == 0).all() and (gap[~split & ~tight] > 0).any()
    assert (intercept[~split & (found.bound.coefficients >= 0)] == 0).all(), "only the chord has an intercept"


def test_babsr_takes_the_largest_gap():
    core, found = found_in(17, share=0.2)
    gap = gap_scores(found)
    chosen = gap.gather(0, choose("babsr", core, found).unsqueeze(0))[0]
    assert (chosen >= 0.99 * gap.amax(0) - 1e-2 * intercept_scores(found).amax(0)).all()


def test_random_is_reproducible_and_depends_on_its_seed():
    core, found = found_in(2)
    first, again, other = (choose("random", core, found, seed=seed).tolist() for seed in (1, 1, 2))
    assert first == again != other
    assert len(set(first)) > 1
