"""Input split: verdicts against the exact minimum over all linear regions; what is dropped, and what never is."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import lru_cache

import pytest
import torch
from sample_cores import KINDS, Instance, instance, near
from torch import Tensor, nn

from abcrown_graft.bounds.propagate import bound_network
from abcrown_graft.core.reduction import reduce_to_core
from abcrown_graft.geometry.box import Box
from abcrown_graft.geometry.specification import Specification
from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.trace import from_module
from abcrown_graft.search import bab, box_task
from abcrown_graft.search.bab import JudgePoints, SearchResult, SearchSettings
from abcrown_graft.search.box_task import BoxTask, Lines
from abcrown_graft.search.boxes import Boxes
from abcrown_graft.search.budget import Budget
from abcrown_graft.search.input_branching import InputBranching
from abcrown_graft.search.input_split import InputSplit, _InputSplit, input_split_steps
from abcrown_graft.search.options import INPUT_BRANCHING
from abcrown_graft.search.task import alone
from abcrown_graft.search.together import together
from abcrown_graft.verdict import Verdict

pytestmark = pytest.mark.usefixtures("one_thread")

USUAL = SearchSettings(16, timeout=60)


def specified(found: Instance) -> Specification:
    """Every margin is a clause of its own."""
    rows = found.rows.view(1, len(found.rows), 1, -1)
    return Specification(found.box, rows, torch.zeros_like(rows[..., 0]))


def lines_of(found: Instance, specification: Specification | None = None) -> Lines:
    return Lines.of(found.bounds, specification or specified(found))


def split(
    found: Instance,
    settings: SearchSettings = USUAL,
    check: JudgePoints | None = None,
    method: str = "smear",
    specification: Specification | None = None,
) -> SearchResult:
    whole = specification or specified(found)
    arguments = (whole, lines_of(found, whole), settings, InputBranching(method), Budget(settings.timeout), check)
    return alone(input_split_steps(found.network, *arguments))


@lru_cache
def hard() -> Instance:
    """Robust, and neither at the root nor after a few halvings."""
    found = near("dense", 53, 0, 0.003)
    assert split(found).visited > 50
    return found


def checker(found: Instance, specification: Specification | None = None) -> JudgePoints:
    """Told points, the first whose network output in float64 violates the property, moved into the box."""
    whole = specification or specified(found)

    def check(points: Tensor) -> Tensor | None:
        inside = found.box.clamp(points.double().reshape(-1, *found.network.input.shape))
        values = whole.values(evaluate(found.network, inside).unsqueeze(0))[0].amin(1)
        return inside[values.argmin()] if values.min() <= 0 else None

    return check


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fraction", [0, 0.5])
@pytest.mark.parametrize("method", INPUT_BRANCHING.names())
def test_verdicts_are_the_truth(kind, fraction, method):
    for seed, least in itertools.product(range(2), (0.003, -0.003)):
        found = near(kind, seed, fraction, least)
        result = split(found, USUAL, checker(found), method)
        assert result.verdict == (Verdict.VERIFIED if least > 0 else Verdict.FALSIFIED), (seed, least)
        if least < 0:
            point = result.counterexample.unsqueeze(0)
            assert ((point >= found.box.lower) & (point <= found.box.upper)).all()
            assert (evaluate(found.network, point) @ found.rows.T).min() <= 0


def in_four_dimensions(seed: int, shift: float) -> Instance:
    """Two layers of eight neurons over a cube."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)]
        module = nn.Sequential(*layers).double().requires_grad_(False)
        centre = torch.randn(1, 4, dtype=torch.float64)
    module[-1].bias[0] += shift
    network, box = from_module(module, (4,)), Box(centre - 0.5, centre + 0.5)
    rows = torch.tensor([[1.0, -1.0, 0.0], [1.0, 0.0, -1.0]], dtype=torch.float64)
    bounds = bound_network(network, box, rigorous=True)
    return Instance(module, network, box, rows, bounds, reduce_to_core(bounds, rows))


@pytest.mark.parametrize("seed", range(3))
def test_it_agrees_with_the_search_over_neurons(seed):
    points = in_four_dimensions(seed, 0.0)
    grid = torch.cartesian_prod(*[torch.linspace(-0.5, 0.5, 7, dtype=torch.float64)] * 4)
    values = evaluate(points.network, (points.box.lower + 0.5) + grid) @ points.rows.T
    verdicts = []
    for shift in (0.02, 0.004, -0.004, -0.02):
        found = in_four_dimensions(seed, shift - float(values.min()))
        expected = bab.search(found.core, USUAL, checker(found)).verdict
        assert split(found, USUAL, checker(found)).verdict == expected
        verdicts.append(expected)
    assert verdicts[0] is Verdict.VERIFIED and verdicts[-1] is Verdict.FALSIFIED


@pytest.mark.parametrize("kind", KINDS)
def test_a_clause_holds_if_one_literal_does(kind):
    """Everywhere some literal is positive, though none of them is everywhere."""
    for seed, margin in itertools.product(range(3), (0.02, -0.02)):
        found = instance(kind, seed)
        rows = torch.tensor([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 1.0, -0.5]], dtype=torch.float64)
        free = (found.box.upper > found.box.lower).flatten().nonzero().flatten()
        low, high = found.box.lower.flatten(), found.box.upper.flatten()
        share = torch.cartesian_prod(*[torch.linspace(0, 1, 120, dtype=low.dtype)] * 2)
        points = low.repeat(len(share), 1)
        points[:, free] = low[free] + share * (high - low)[free]
        outputs = evaluate(found.network, points.view(-1, *found.network.input.shape))
        shift = margin - float((outputs @ rows.T).amax(1).min())
        whole = Specification(found.box, rows.view(1, 1, 3, 3), torch.full((1, 1, 3), shift, dtype=torch.float64))
        result = split(found, USUAL, checker(found, whole), specification=whole)
        assert result.verdict == (Verdict.VERIFIED if margin > 0 else Verdict.FALSIFIED), seed


def test_every_clause_has_to_hold():
    """The second fails everywhere; what the first leaves must not hide that."""
    found = instance("dense", 4)
    rows = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64).view(1, 2, 1, 3)
    for constant, verdict in ((0.1, Verdict.VERIFIED), (-0.1, Verdict.UNKNOWN)):
        whole = Specification(found.box, rows, torch.tensor([[[50.0], [constant]]], dtype=torch.float64))
        assert split(found, replace(USUAL, max_domains=40), specification=whole).verdict is verdict


class Watched(_InputSplit):
    """Remembers what was bounded."""

    def __init__(self, found: Instance, settings: SearchSettings, method: str = "smear") -> None:
        super().__init__(found.network, specified(found), settings, InputBranching(method), Budget(60), None)
        self.bounded: list[Tensor] = []

    def _keep_open(self, lower: Tensor, upper: Tensor, found: Lines, known: Tensor) -> None:
        self.bounded.append(torch.stack([lower, upper]))
        super()._keep_open(lower, upper, found, known)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", INPUT_BRANCHING.names())
@pytest.mark.parametrize("visits", [2, 20])
def test_every_point_that_fails_stays_in_an_open_box(kind, method, visits):
    """Whatever was halved, clipped and closed."""
    for seed, least in itertools.product(range(2), (-0.3, -0.003)):
        found = near(kind, seed, 0, least)
        search = Watched(found, SearchSettings(4, max_domains=visits), method)
        assert alone(search.steps(lines_of(found))).verdict is Verdict.UNKNOWN
        generator = torch.Generator().manual_seed(seed)
        share = torch.rand(5000, found.box.lower.numel(), generator=generator, dtype=torch.float64)
        low, high = found.box.lower.flatten(), found.box.upper.flatten()
        points = low + share * (high - low)
        values = evaluate(found.network, points.view(-1, *found.network.input.shape)) @ found.rows.T
        points = points[values.amin(1) <= 0]
        left = search.open.take(10**6)
        inside = (points.unsqueeze(1) >= left.lower) & (points.unsqueeze(1) <= left.upper)
        assert inside.all(2).any(1).all()
        assert len(points) or least > -0.1


def test_open_boxes_are_halves_of_open_boxes():
    """Every box that is bounded lies in the input box and is no wider than its predecessors."""
    found = hard()
    search = Watched(found, USUAL)
    alone(search.steps(lines_of(found)))
    for lower, upper in search.bounded:
        assert (lower >= found.box.lower).all() and (upper <= found.box.upper).all() and (lower <= upper).all()
    assert sum(len(part[0]) for part in search.bounded) == search.visited + 1


def test_the_batch_size_does_not_matter():
    for seed, least in itertools.product((3, 45), (0.003, -0.003)):
        found = near("dense", seed, 0, least)
        verdicts = {split(found, replace(USUAL, batch_size=size), checker(found)).verdict for size in (1, 7, 4096)}
        assert verdicts == {Verdict.VERIFIED if least > 0 else Verdict.FALSIFIED}


class TestNothingIsClaimedWithoutProof:
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("slope", [0.0, 1.0, math.nan, math.inf])
    def test_bounds_that_are_not_finite(self, monkeypatch, value, slope):
        def nonsense(bounds, specification):
            size = specification.offsets.shape
            return torch.full((*size, 3), slope).double(), torch.full(size, value).double()

        monkeypatch.setattr(box_task, "literal_lower_lines", nonsense)
        easy = instance("dense", 2, shift=100.0)
        result = split(easy, replace(USUAL, max_domains=60))
        assert result.verdict is Verdict.UNKNOWN and result.lower_bound == -math.inf

    def test_one_clause_of_which_nothing_is_known(self, monkeypatch):
        def half(bounds, specification):
            lines, lower = literal_lower_lines(bounds, specification)
            lower[:, 1] = math.nan
            return lines, lower

        literal_lower_lines = box_task.literal_lower_lines
        monkeypatch.setattr(box_task, "literal_lower_lines", half)
        assert split(instance("dense", 2, shift=100.0), replace(USUAL, max_domains=60)).verdict is Verdict.UNKNOWN

    @pytest.mark.parametrize("least", [0.0, -1e-12, -1e-9])
    def test_what_is_barely_false(self, least):
        assert split(near("dense", 4, 0, least), replace(USUAL, max_domains=400)).verdict is Verdict.UNKNOWN

    def test_steps_are_bounded_with_rounding_accounted_for(self):
        found = hard()
        steps = _InputSplit(found.network, specified(found), USUAL, InputBranching(), Budget(60), None)
        task = next(steps.steps(lines_of(found)))
        (lines,) = box_task.bound_boxes([task])
        plain = bound_network(found.network, task.specification.box)
        assert (lines.lower < box_task.literal_lower_lines(plain, task.specification)[1]).all()


def tiny(width_in_steps: int) -> Instance:
    """A box of a few floats at which a margin is zero."""
    found = near("dense", 4, 0, 0.0)
    lower = found.box.lower.clone()
    upper = lower.clone()
    for _ in range(width_in_steps):
        upper = torch.nextafter(upper, torch.full_like(upper, math.inf))
    value = evaluate(found.network, lower) @ found.rows.T
    found.module[-1].bias[0] -= float(value.min())
    network, box = from_module(found.module, (3,)), Box(lower, upper)
    return replace(found, network=network, box=box, bounds=bound_network(network, box, rigorous=True))


class TestBoxesThatCannotBeHalved:
    @pytest.mark.parametrize("steps", [0, 1, 3])
    def test_they_are_unknown(self, steps):
        result = split(tiny(steps))
        assert result.verdict is Verdict.UNKNOWN and result.lower_bound < 0
        assert (result.visited == 0) == (steps < 2)

    def test_unless_one_of_their_points_fails(self):
        found = tiny(1)
        result = split(found, USUAL, checker(found))
        assert result.verdict in (Verdict.FALSIFIED, Verdict.UNKNOWN)
        seen: list[Tensor] = []
        split(found, USUAL, lambda points: seen.append(points))
        assert torch.equal(seen[-1], found.box.lower), "both corners are tried"


class TestLimits:
    def test_no_domains_means_the_root_alone(self):
        result = split(hard(), replace(USUAL, max_domains=0))
        assert (result.verdict, result.visited) == (Verdict.UNKNOWN, 0) and result.lower_bound < 0

    def test_what_the_root_decides_needs_no_domains(self):
        assert split(instance("dense", 2, shift=100.0), replace(USUAL, max_domains=0)).verdict is Verdict.VERIFIED
        low = instance("dense", 2, shift=-100.0)
        result = split(low, replace(USUAL, max_domains=0), checker(low))
        assert (result.verdict, result.visited) == (Verdict.FALSIFIED, 0)

    @pytest.mark.parametrize("limit", [1, 7, 20])
    def test_reaching_the_limit_is_unknown(self, limit):
        result = split(hard(), replace(USUAL, batch_size=2, max_domains=limit))
        assert result.verdict is Verdict.UNKNOWN and limit <= result.visited < limit + 2

    def test_no_time(self):
        result = split(hard(), replace(USUAL, timeout=0))
        assert (result.verdict, result.visited) == (Verdict.TIMEOUT, 0) and result.lower_bound < 0

    @pytest.mark.parametrize("looks", [1, 2, 5, 12])
    def test_time_that_is_over_on_the_way_loses_nothing(self, looks):
        """Between steps, before one, and within one."""

        class Short(Budget):
            left_looks = looks

            def late(self) -> bool:
                self.left_looks -= 1
                return self.left_looks < 0

        found = hard()
        search = _InputSplit(found.network, specified(found), USUAL, InputBranching(), Short(60), None)
        result = alone(search.steps(lines_of(found)))
        assert result.verdict is Verdict.TIMEOUT and result.lower_bound < 0 and search.open

    def test_no_more_than_a_batch_is_bounded_at_once(self):
        found = hard()
        steps = _InputSplit(found.network, specified(found), USUAL, InputBranching(), Budget(60), None)
        search, sizes = steps.steps(lines_of(found)), []
        task = next(search)
        while task is not None:
            sizes.append(len(task.specification))
            try:
                task = search.send(next(box_task.bound_boxes([task])))
            except StopIteration:
                task = None
        assert max(sizes) == 16 and sizes[0] == 2


def test_parts_inherit_the_bounds_of_their_whole(monkeypatch):
    """Of two boxes with another clause proved in each; of the halves themselves nothing good is known."""
    found, known = hard(), torch.tensor([[-1.0, 5.0], [4.0, -2.0]], dtype=torch.float64)
    poor = lambda *_: (torch.zeros(4, 2, 1, 3).double(), torch.full((4, 2, 1), -9.0).double())  # noqa: E731
    monkeypatch.setattr(box_task, "literal_lower_lines", poor)
    lower, upper = found.box.lower.repeat(2, 1), found.box.upper.repeat(2, 1)
    axis = (upper > lower).double().argmax(1)
    search = _InputSplit(
        found.network, specified(found), replace(USUAL, max_domains=4), InputBranching(), Budget(60), None
    )
    nothing = Lines(torch.zeros(1, 2, 1, 3).double(), torch.ones(1, 2, 1).double(), torch.zeros(1, 2, 1, 3).double())
    search.open.push(Boxes(lower, upper, known, axis))
    assert alone(search.steps(nothing)).verdict is Verdict.UNKNOWN
    assert search.open.take(9).clauses.tolist() == [[-1, 5], [-1, 5], [4, -2], [4, -2]]


class TestSideBySide:
    def searches(self, found: list[Instance], timeouts: list[float]):
        """Of instances of one network."""
        budgets = [Budget(seconds) for seconds in timeouts]
        return [
            (input_split_steps(one.network, specified(one), lines_of(one), USUAL, InputBranching(), budget), budget)
            for one, budget in zip(found, budgets, strict=True)
        ]

    def of_one_network(self, count: int) -> list[Instance]:
        found = hard()
        return [replace(found, bounds=found.bounds) for _ in range(count)]

    def test_they_share_batches(self, monkeypatch):
        searches, sizes, whole = self.searches(self.of_one_network(3), [60.0] * 3), [], box_task.bound_network

        def watched(network, box, *rest, **how):
            sizes.append(len(box))
            return whole(network, box, *rest, **how)

        monkeypatch.setattr(box_task, "bound_network", watched)
        found = dict(together(searches))
        assert {result.verdict for result in found.values()} == {Verdict.VERIFIED}
        assert sizes[0] == 6 and len({result.visited for result in found.values()}) == 1

    def test_each_is_told_its_own_lines(self):
        found = hard()
        corner = Box(found.box.lower, (found.box.lower + found.box.upper) / 2)
        parts = [replace(specified(found), box=box) for box in (found.box, corner)]
        tasks = [BoxTask(found.network, part, Budget(60)) for part in parts]
        for task, lines in zip(tasks, box_task.bound_boxes(tasks), strict=True):
            (own,) = box_task.bound_boxes([task])
            torch.testing.assert_close(lines.lower, own.lower)
            torch.testing.assert_close(lines.coefficients, own.coefficients)
            torch.testing.assert_close(lines.steepest, own.steepest)

    def test_each_has_its_own_time(self):
        found = dict(together(self.searches(self.of_one_network(3), [60.0, 0.0, 60.0])))
        assert [found[k].verdict for k in range(3)] == [Verdict.VERIFIED, Verdict.TIMEOUT, Verdict.VERIFIED]

    def test_other_networks_are_bounded_by_themselves(self):
        one, other = near("dense", 3, 0, 0.003), near("dense", 53, 0, 0.003)
        found = dict(together(self.searches([one, other], [60.0, 60.0])))
        assert [found[k].verdict for k in range(2)] == [Verdict.VERIFIED] * 2


def test_which_networks_have_few_inputs():
    network = hard().network
    assert InputSplit(3).suits(network) and InputSplit(math.inf).suits(network)
    assert not InputSplit(2).suits(network) and not InputSplit(0).suits(network)
