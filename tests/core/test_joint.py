"""Subproblems of several cores in one batch: the same numbers as one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sample_cores import KINDS, instance

from abcrown_graft.core.core import Core
from abcrown_graft.core.dual import Duals, Optimized, dual_bound, mix_of, primal_values, root_duals
from abcrown_graft.core.joint import Joint
from abcrown_graft.core.reduction import reduce_to_core
from abcrown_graft.search.branching import BranchingSettings
from abcrown_graft.search.optimize import AdamSettings, optimize
from abcrown_graft.search.task import halves

pytestmark = pytest.mark.usefixtures("one_thread")


def some_cores(kind: str) -> list[Core]:
    """Of different sizes, one without any neuron, one without the first layer of the others."""
    cores = [instance(kind, seed, 0.3 * (seed % 2)).core for seed in range(4)]
    cores.insert(2, instance(kind, 3, 1).core)
    cores.append(without_first_layer(next(core for core in cores if len(core.layers) > 1)))
    assert len({tuple(core.sizes) for core in cores}) > 3
    return cores


def without_first_layer(core: Core) -> Core:
    """As if all of its neurons were inactive."""
    layers = [
        replace(layer, from_layers={j - 1: block for j, block in layer.from_layers.items() if j > 0})
        for layer in core.layers[1:]
    ]
    return replace(core, layers=tuple(layers), out_layers=core.out_layers[1:])


def some_duals(core: Core, count: int, seed: int) -> Duals:
    generator = torch.Generator().manual_seed(seed)
    start = root_duals(core, mix_of(core, torch.randint(len(core.clause), (count,), generator=generator)))
    split = torch.randint(-1, 2, start.split.shape, generator=generator).to(start.split)
    slack = torch.rand(start.slack.shape, generator=generator, dtype=start.slack.dtype)
    return replace(start, split=split, slack=slack)


def same(found: Optimized, expected: Optimized) -> None:
    for name in ("values", "inputs", "literals"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))
    for part in ("duals", "bound"):
        for name, value in vars(getattr(expected, part)).items():
            torch.testing.assert_close(getattr(getattr(found, part), name), value, msg=name)


def evaluated(core, duals: Duals) -> Optimized:
    bound = dual_bound(core, duals)
    inputs, values, literals = primal_values(core, bound)
    return Optimized(duals, bound, values, inputs, literals)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batched", [False, True])
class TestSameAsOneByOne:
    def test_bounds_and_primal_points(self, kind, batched):
        cores, counts = some_cores(kind), (3, 1, 4, 0, 2, 5)
        duals = [some_duals(core, count, 7 * k) for k, (core, count) in enumerate(zip(cores, counts, strict=True))]
        joint = Joint(cores, batched)
        found, begin = evaluated(*joint.join(duals)), 0
        for k, count in enumerate(counts):
            same(joint.part(found, k, slice(begin, begin + count)), evaluated(cores[k], duals[k]))
            begin += count
        assert begin == len(found.lower)

    @pytest.mark.parametrize("target", [0.0, float("inf")])
    def test_optimised(self, kind, batched, target):
        """What is above the target leaves the batch sooner or later; the others have had the same steps."""
        cores = some_cores(kind)
        duals = [some_duals(core, 3, k) for k, core in enumerate(cores)]
        joint, effort, improved = Joint(cores, batched), AdamSettings(8, 0.1, 0.1), 0
        together = optimize(*joint.join(duals), effort, target)
        for k, core in enumerate(cores):
            alone, start = optimize(core, duals[k], effort, target), dual_bound(core, duals[k]).lower
            part = joint.part(together, k, slice(3 * k, 3 * k + 3))
            assert torch.equal(part.lower > target, alone.lower > target)
            going = alone.lower <= target
            improved += int((alone.lower > start)[going].sum())
            torch.testing.assert_close(part.lower[going], alone.lower[going])
            torch.testing.assert_close(part.multipliers[:, going], alone.multipliers[:, going])
        assert improved > 0

    @pytest.mark.parametrize("method", ["kfsb", "babsr"])
    def test_splits(self, kind, batched, method):
        cores = [core for core in some_cores(kind) if core.sizes]
        parents = [evaluated(core, some_duals(core, 4, k)) for k, core in enumerate(cores)]
        for k, parent in enumerate(parents):
            parent.duals.split[k % len(parent.duals.split)] = 0  # a neuron is free
            parents[k] = evaluated(cores[k], parent.duals)
        joint = Joint(cores, batched)
        core, start = joint.join_parents(parents)
        children = halves(core, start, BranchingSettings(method))
        for k, (own, parent) in enumerate(zip(cores, parents, strict=True)):
            expected = halves(own, parent, BranchingSettings(method))
            columns = children[slice(8 * k, 8 * k + 8)]
            assert torch.equal(columns.split[joint.rows[k]], expected.split)
            torch.testing.assert_close(columns.slack[joint.rows[k]], expected.slack)

    def test_columns_that_are_selected_keep_their_cores(self, kind, batched):
        cores = some_cores(kind)
        joint = Joint(cores, batched)
        core, duals = joint.join([some_duals(own, 3, k) for k, own in enumerate(cores)])
        whole, chosen = dual_bound(core, duals).lower, torch.arange(len(duals)) % 3 != 1
        torch.testing.assert_close(dual_bound(core.select(chosen), duals[chosen]).lower, whole[chosen])
        again = core.select(chosen).select(torch.tensor([0, 0, 4, 9]))
        at = chosen.nonzero().flatten()[[0, 0, 4, 9]]
        torch.testing.assert_close(dual_bound(again, duals[at]).lower, whole[at])


@pytest.mark.parametrize("batched", [False, True])
def test_clauses_of_several_literals(batched):
    """The second core has one clause of two literals, the others have one clause for each literal, or no clause."""
    rows = torch.tensor([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 1.0, -0.5]], dtype=torch.float64)
    zeros = torch.zeros(3, dtype=torch.float64)
    clauses = [torch.arange(3), torch.tensor([0, 0, 1]), torch.arange(3)]
    cores = []
    for seed, (clause, literals) in enumerate(zip(clauses, (3, 3, 0), strict=True)):
        bounds = instance("dense", seed).bounds
        cores.append(reduce_to_core(bounds, rows[:literals], zeros[:literals], clause[:literals]))
    mixes = []
    for core in cores:
        member = (core.clause.unsqueeze(1) == core.clause.unique()).double()
        mixes.append(root_duals(core, member / member.sum(0)))
    joint, effort = Joint(cores, batched), AdamSettings(10, 0.1, 0.1)
    together = optimize(*joint.join(mixes), effort, float("inf"))
    begin = 0
    for k, (core, duals) in enumerate(zip(cores, mixes, strict=True)):
        part = joint.part(together, k, slice(begin, begin + len(duals)))
        same(part, optimize(core, duals, effort, float("inf")))
        begin += len(duals)
    assert begin == 3 + 2


def test_padding_is_never_free():
    cores = [core for core in some_cores("dense") if core.sizes]
    joint = Joint(cores)
    core, duals = joint.join([root_duals(own, mix_of(own, torch.arange(2))) for own in cores])
    assert [int((duals.split[:, 2 * k] == 0).sum()) for k in range(len(cores))] == [sum(own.sizes) for own in cores]
    assert ((core.layers[0].upper - core.layers[0].lower) > 0).all(), "or its chord is 0 / 0"
