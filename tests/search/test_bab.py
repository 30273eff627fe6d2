"""Verdicts against the exact minimum over all linear regions, on hundreds of small networks."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from sample_cores import KINDS, Instance, exact_minima, flat_points, instance, near
from torch import Tensor

from abcrown_graft.core.block import Block
from abcrown_graft.core.core import Core, Layer, evaluate_core
from abcrown_graft.core.reduction import reduce_to_core
from abcrown_graft.network.forward import evaluate
from abcrown_graft.search import bab, leaf, task
from abcrown_graft.search.bab import SearchResult, SearchSettings, search
from abcrown_graft.search.branching import BranchingSettings
from abcrown_graft.search.optimize import AdamSettings, optimize
from abcrown_graft.verdict import Verdict

pytestmark = pytest.mark.usefixtures("one_thread")

NONE = AdamSettings(0)
SETTINGS = {
    "usual": SearchSettings(timeout=60, alpha=AdamSettings(10, 0.1, 0.05), beta=AdamSettings(5, 0.05, 0.1)),
    "leaves": SearchSettings(timeout=60, alpha=NONE, beta=NONE, branching=BranchingSettings("random")),
    "one by one": SearchSettings(
        2, 60, alpha=NONE, beta=AdamSettings(3), branching=BranchingSettings("babsr"), double=True
    ),
}

SLOW = replace(SETTINGS["usual"], alpha=NONE, beta=AdamSettings(1, 0.01, 0.01))


def checker(found: Instance):
    """Told points, the first whose network output in float64 has a margin of at most zero, moved into the box."""

    def check(points: Tensor) -> Tensor | None:
        inside = found.box.clamp(points.double().reshape(-1, *found.network.input.shape))
        wrong = ((evaluate(found.network, inside) @ found.rows.T).amin(1) <= 0).nonzero().flatten()
        return inside[wrong[0]] if len(wrong) else None

    return check


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fraction", [0, 0.5, 1])
@pytest.mark.parametrize("how", list(SETTINGS))
def test_verdicts_are_the_truth(kind, fraction, how):
    for seed, least in itertools.product(range(3), (0.003, -0.003)):
        found = near(kind, seed, fraction, least)
        result = search(found.core, SETTINGS[how], checker(found))
        assert result.verdict == (Verdict.VERIFIED if least > 0 else Verdict.FALSIFIED), (seed, least)
        if least < 0:
            assert result.counterexample is not None
            point = result.counterexample.unsqueeze(0)
            assert ((point >= found.box.lower) & (point <= found.box.upper)).all()
            assert (evaluate(found.network, point) @ found.rows.T).min() <= 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fraction", [0, 0.5])
@pytest.mark.parametrize("after", [0, 4])
def test_verdicts_are_the_truth_on_tightened_cores(monkeypatch, kind, fraction, after):
    """Some neurons leave the core in the middle of the search, and their splits with them."""
    monkeypatch.setattr(bab, "TIGHTEN_AFTER", after)
    shrunk = count_calls(monkeypatch, bab, "tighten")
    effort = replace(SETTINGS["usual"], alpha=AdamSettings(1, 0.1, 0.05), beta=AdamSettings(2, 0.05, 0.1))
    for seed, least in itertools.product(range(6), (0.003, -0.003)):
        found = near(kind, seed, fraction, least)
        result = search(found.core, effort, checker(found))
        assert result.verdict == (Verdict.VERIFIED if least > 0 else Verdict.FALSIFIED), (seed, least)
    assert shrunk or fraction


def smallest_of_largest(found: Instance, literals: Tensor) -> float:
    """Minimum over the box of the largest of the network's linear functions `literals`, by a fine grid."""
    free = (found.box.upper > found.box.lower).flatten().nonzero().flatten()
    low, high = found.box.lower.flatten(), found.box.upper.flatten()
    steps = torch.linspace(0, 1, 150, dtype=low.dtype)
    share = torch.cartesian_prod(steps, steps)
    points = low.repeat(len(share), 1)
    points[:, free] = low[free] + share * (high - low)[free]
    outputs = evaluate(found.network, points.view(-1, *found.network.input.shape))
    return float((outputs @ literals.T).amax(1).min())


@pytest.mark.parametrize("kind", KINDS)
def test_a_clause_holds_if_one_literal_does(kind):
    """Everywhere some literal is positive, though none of them is everywhere."""
    alone = 0
    for seed in range(4):
        found = instance(kind, seed, 0.3 * (seed % 2))
        rows = torch.tensor([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]], dtype=torch.float64)
        rows = torch.cat([rows, torch.tensor([[0.0, 1.0, -0.5]], dtype=torch.float64)])
        least = smallest_of_largest(found, rows)
        for shift, verdict in ((0.02 - least, Verdict.VERIFIED), (-0.02 - least, Verdict.FALSIFIED)):
            offsets = torch.full((3,), shift, dtype=torch.float64)
            core = reduce_to_core(found.bounds, rows, offsets, torch.zeros(3, dtype=torch.int64))

            def check(points: Tensor, rows=rows, offsets=offsets, found=found) -> Tensor | None:
                inside = found.box.clamp(points.double().reshape(-1, *found.network.input.shape))
                values = (evaluate(found.network, inside) @ rows.T + offsets).amax(1)
                return inside[values.argmin()] if values.min() <= 0 else None

            for how in ("usual", "leaves")[: 1 + (seed == 2)]:
                result = search(core, SETTINGS[how], check)
                assert result.verdict == verdict, (seed, how)
            by_itself = exact_minima(found.network, found.box, rows) + offsets > 0
            alone += verdict is Verdict.VERIFIED and not bool(by_itself.any())
    assert alone > 0 or kind == "residual", "some clause is true though no literal of it is"


def test_clauses_are_proved_each_by_itself():
    """Two clauses, of which the second cannot hold: no mix over both may hide that."""
    found = instance("dense", 4)
    rows = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    offsets = torch.tensor([0.5, 0.5, -0.1], dtype=torch.float64)
    for clause, verdict in (([0, 0, 0], Verdict.VERIFIED), ([0, 0, 1], Verdict.UNKNOWN)):
        core = reduce_to_core(found.bounds, rows, offsets, torch.tensor(clause))
        assert search(core, SETTINGS["leaves"], None).verdict == verdict


def test_the_oracle_is_attained_and_never_undercut():
    for kind, seed in itertools.product(KINDS, range(8)):
        found = instance(kind, seed, 0.3 * (seed % 2))
        least = exact_minima(found.network, found.box, found.rows)
        sampled = evaluate_core(found.core, flat_points(found.box, 4000))[0].amin(1)
        assert (least <= sampled + 1e-12).all() and (sampled - least < 0.5).all()


@pytest.mark.parametrize("least", [1e-9, 1e-6])
def test_a_margin_within_the_rounding_of_float32_is_proved_or_left_open(least):
    verdicts = set()
    for kind, seed in itertools.product(("dense", "leaky"), range(3)):
        for sign in (1, -1):
            found = near(kind, seed, 0, sign * least)
            verdict = search(found.core, SETTINGS["usual"], None).verdict
            assert verdict in ((Verdict.VERIFIED, Verdict.UNKNOWN) if sign > 0 else (Verdict.UNKNOWN,))
            verdicts.add(verdict)
    assert Verdict.UNKNOWN in verdicts


def hard() -> Instance:
    """Robust, and not at the root."""
    found = near("dense", 16, 0, 0.003)
    assert search(found.core, SLOW).visited > 20
    return found


def count_calls(monkeypatch, module, name: str) -> list[int]:
    """The number of subproblems in each call of a function of the search."""
    calls: list[int] = []
    whole = getattr(module, name)

    def counting(*args, **options):
        found = whole(*args, **options)
        calls.append(len(found.lower) if name == "optimize" else 1)
        return found

    monkeypatch.setattr(module, name, counting)
    return calls


class TestLimits:
    def test_no_domains_means_the_root_alone(self, monkeypatch):
        calls = count_calls(monkeypatch, task, "optimize")
        result = search(hard().core, replace(SLOW, max_domains=0))
        assert (result.verdict, result.visited, calls[-1:]) == (Verdict.UNKNOWN, 0, [2])
        assert result.lower_bound < 0

    def test_what_the_root_decides_needs_no_domains(self):
        easy = instance("dense", 2, shift=100.0)
        assert search(easy.core, replace(SLOW, max_domains=0)).verdict == Verdict.VERIFIED
        low = instance("dense", 2, shift=-100.0)
        result = search(low.core, replace(SLOW, max_domains=0), checker(low))
        assert (result.verdict, result.visited) == (Verdict.FALSIFIED, 0)

    @pytest.mark.parametrize("limit", [1, 7, 20])
    def test_reaching_the_limit_is_unknown(self, limit):
        result = search(hard().core, replace(SLOW, batch_size=2, max_domains=limit))
        assert result.verdict == Verdict.UNKNOWN
        assert limit <= result.visited < limit + 2

    def test_no_time(self):
        result = search(hard().core, replace(SLOW, timeout=0))
        assert (result.verdict, result.visited) == (Verdict.TIMEOUT, 0)
        assert result.lower_bound < 0

    def test_no_more_than_a_batch_is_bounded_at_once(self, monkeypatch):
        found = hard()
        calls = count_calls(monkeypatch, task, "optimize")
        for size in (1, 2, 6):
            calls.clear()
            assert search(found.core, replace(SLOW, batch_size=size)).verdict == Verdict.VERIFIED
            assert max(calls[1:]) == max(2, size)


@pytest.mark.parametrize("least", [0.01, -0.01])
def test_the_batch_size_does_not_change_the_verdict(least):
    for kind, seed in itertools.product(KINDS, (2, 3, 16)):
        found = near(kind, seed, 0, least)
        results = [search(found.core, replace(SETTINGS["usual"], batch_size=n), checker(found)) for n in (2, 512)]
        assert results[0].verdict == results[1].verdict != Verdict.UNKNOWN


class TestNothingIsClaimedWithoutProof:
    def test_a_search_whose_certificate_fails_is_never_verified(self, monkeypatch):
        """All of float32's bounds are lies here; only the certificate counts."""
        found = near("residual", 4, 0, -0.5)
        whole = task.optimize

        def lying(*args, **options):
            best = whole(*args, **options)
            return replace(best, bound=replace(best.bound, lower=torch.full_like(best.lower, 9.0)))

        monkeypatch.setattr(task, "optimize", lying)
        result = search(found.core, SETTINGS["leaves"], None)
        assert result.verdict == Verdict.UNKNOWN
        assert result.lower_bound <= 0, "no positive bound is reported of what is not proved"

    def test_bounds_that_are_not_numbers_are_never_verified(self, monkeypatch):
        found = near("dense", 4, 0, 0.5)
        whole = task.optimize

        def broken(*args, **options):
            best = whole(*args, **options)
            return replace(best, bound=replace(best.bound, lower=torch.full_like(best.lower, torch.nan)))

        monkeypatch.setattr(task, "optimize", broken)
        result = search(found.core, SETTINGS["leaves"], None)
        assert result.verdict == Verdict.VERIFIED, "the leaves' certificates do not depend on it"

        def nothing(core, mix, *_):
            return torch.full((mix.shape[1],), -torch.inf)

        monkeypatch.setattr(bab, "certified_bound", nothing)
        monkeypatch.setattr(leaf, "certified_bound", nothing)
        assert search(found.core, SETTINGS["leaves"], None).verdict == Verdict.UNKNOWN

    def test_a_point_that_the_judge_rejects_is_no_counterexample(self):
        found = near("dense", 3, 0, -0.5)
        result = search(found.core, SETTINGS["leaves"], lambda points: None)
        assert (result.verdict, result.counterexample) == (Verdict.UNKNOWN, None)
        assert result.lower_bound < -0.4

    def test_a_neuron_on_the_edge_of_float32(self):
        """Bounds that float32 rounds to zero make its chord 0 / 0."""
        found = near("dense", 3, 0, 0.1)
        layers = list(found.core.layers)
        layers[0] = replace(layers[0], lower=layers[0].lower * 1e-60, upper=layers[0].upper * 1e-60)
        core = replace(found.core, layers=tuple(layers))
        assert isinstance(search(core, replace(SETTINGS["leaves"], max_domains=300)), SearchResult)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["kfsb", "babsr", "random"])
def test_a_split_never_loses_what_was_certified(monkeypatch, kind, method):
    """With its parent's multipliers a child has its parent's certificate; optimised, nearly all have more."""
    families = []
    whole = task.halves

    def watched(core, parents, settings):
        children = whole(core, parents, settings)
        found = optimize(core, children, AdamSettings(25, 0.05, 0.1), float("inf"))
        certified = [
            bab.certified_bound(core.to(dtype=torch.float64), duals.mix, duals.split, multipliers)
            for duals, multipliers in (
                (parents.duals, parents.multipliers),
                (children, parents.multipliers.repeat_interleave(2, dim=1)),
            )
        ]
        lower, before = parents.lower.repeat_interleave(2), certified[0].repeat_interleave(2)
        families.append((lower, found.lower, before, certified[1]))
        return children

    monkeypatch.setattr(task, "halves", watched)
    for seed in (2, 3, 8, 17):
        found = near(kind, seed, 0, 0.01)
        search(found.core, replace(SETTINGS["usual"], branching=BranchingSettings(method), max_domains=60))
    before, after, parent, child = (torch.cat(parts) for parts in zip(*families, strict=True))
    assert len(before) > 4
    assert (child >= parent - 1e-6).all(), "but for the core's rounding to float32"
    assert (after >= before - 1e-3 * (1 + before.abs())).float().mean() >= 0.9
    assert (after > before + 1e-2).float().mean() >= 0.5


def test_splits_cover_both_halves(monkeypatch):
    """What a parent's children decide is what the parent left open."""
    seen = []
    whole = task.halves

    def watched(core, parents, settings):
        children = whole(core, parents, settings)
        seen.append((parents.duals, children))
        return children

    monkeypatch.setattr(task, "halves", watched)
    search(hard().core, SLOW)
    for parents, children in seen:
        active, inactive = children[slice(0, None, 2)], children[slice(1, None, 2)]
        changed = active.split != parents.split
        assert (changed.sum(0) == 1).all() and (parents.split[changed] == 0).all()
        assert (active.split[changed] == 1).all() and (inactive.split[changed] == -1).all()
        assert torch.equal(active.split[~changed], inactive.split[~changed])
        assert torch.equal(active.mix, parents.mix) and torch.equal(inactive.mix, parents.mix)


def test_a_grafted_network_has_nothing_to_split():
    found = near("dense", 3, 1, 0.01)
    assert found.core.layers == ()
    result = search(found.core, SETTINGS["usual"])
    assert (result.verdict, result.visited) == (Verdict.VERIFIED, 0)


def test_no_margin_is_a_proof():
    found = instance("dense", 3)
    assert search(reduce_to_core(found.bounds, found.rows[:0]), SETTINGS["usual"]).verdict == Verdict.VERIFIED


def test_leaves_that_there_is_no_time_for_stay_open(monkeypatch):
    """|z| + 0.01 for z in [-1, 1]: neither half is proved before its linear program, and time is up after the first."""
    one = torch.ones(1, dtype=torch.float64)
    layer = Layer("z", torch.tensor([0]), -one, one, Block.of(one.view(1, 1)), {}, 0 * one, 0 * one)
    rows = Block.of(-one.view(1, 1)), (Block.of(2 * one.view(1, 1)),)
    core = Core(-one, one, (layer,), *rows, 0.01 * one, 0 * one, torch.tensor([0]))
    assert search(core, SETTINGS["leaves"]).verdict is Verdict.VERIFIED
    decided, whole = [], bab.decide_leaf

    def slow(*args):
        decided.append(whole(*args))
        return decided[-1]

    monkeypatch.setattr(bab, "decide_leaf", slow)
    monkeypatch.setattr(bab._Search, "_late", lambda self: bool(decided))
    result = search(core, SETTINGS["leaves"])
    assert (len(decided), decided[0][0], result.verdict) == (1, True, Verdict.TIMEOUT)
    assert result.lower_bound < 0


@pytest.mark.parametrize("least", [-1e-3, -1e-9])
def test_what_is_barely_false_is_not_verified_by_a_wrong_bound(monkeypatch, least):
    """The certificate is just below zero where float32 says nine."""
    whole = task.optimize

    def lying(*args, **options):
        best = whole(*args, **options)
        return replace(best, bound=replace(best.bound, lower=torch.full_like(best.lower, 9.0)))

    monkeypatch.setattr(task, "optimize", lying)
    assert search(near("residual", 4, 0, least).core, SETTINGS["leaves"]).verdict is Verdict.UNKNOWN


def test_a_childs_bound_is_never_below_its_parents(monkeypatch):
    """Even though the optimisation starts anew, from variables that give nothing."""
    core, parents, bounded = hard().core, [], []
    children, keep_open = task.halves, bab._Search._keep_open

    def spoiled(core, given, settings):
        parents.append(given.lower)
        found = children(core, given, settings)
        return replace(found, slack=torch.where(found.split == 0, found.slack, 100.0))

    def watched(self, found):
        bounded.append(found.lower)
        return keep_open(self, found)

    monkeypatch.setattr(task, "halves", spoiled)
    monkeypatch.setattr(bab._Search, "_keep_open", watched)
    search(core, replace(SETTINGS["leaves"], max_domains=10))
    assert len(parents) > 1 and len(bounded) == len(parents) + 1
    for before, after in zip(parents, bounded[1:], strict=True):
        assert torch.equal(after, before.repeat_interleave(2))
