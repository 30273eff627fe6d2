from __future__ import annotations

import gc
import math
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from image_cases import cases_at
from sample_cores import exact_minima
from torch import Tensor, nn

from abcrown_graft.bounds import literals
from abcrown_graft.geometry.robustness import robustness_rows
from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.trace import from_module
from abcrown_graft.search import budget as clock
from abcrown_graft.search.bab import SearchResult, SearchSettings
from abcrown_graft.search.branching import BranchingSettings
from abcrown_graft.search.budget import Budget
from abcrown_graft.search.optimize import AdamSettings
from abcrown_graft.search.task import Steps
from abcrown_graft.verdict import InstanceResult, Verdict
from abcrown_graft.verify import complete, completion
from abcrown_graft.verify.batches import verify_boxes
from abcrown_graft.verify.complete import decide_open
from abcrown_graft.verify.failure import failure
from abcrown_graft.verify.problem import Batch, Subject, VerifySettings

SEARCH = SearchSettings(64, alpha=AdamSettings(10, 0.1, 0.05), beta=AdamSettings(5, 0.05, 0.1))
MIDDLE = torch.tensor([[0.5, 0.5]])
HIDDEN = ([[1.0, 0.0], [1.0, 0.0]], [-0.5, 1.0])


def settings(search: SearchSettings | None = SEARCH, **options) -> VerifySettings:
    return VerifySettings(**{"attack": None, "search": search, "incomplete": False, **options})


def batch_of(
    subject: Subject,
    chosen: VerifySettings,
    images: Tensor = MIDDLE,
    labels: Sequence[int] = (0,),
    epsilon: float = 0.1,
) -> Batch:
    """Images counted from 10."""
    numbers = range(10, 10 + len(labels))
    return Batch(subject, chosen, cases_at(subject, images, torch.tensor(labels), numbers, epsilon))


def decided(
    subject: Subject,
    images: Tensor,
    labels: Sequence[int],
    chosen: VerifySettings | None = None,
    epsilon: float = 0.1,
) -> Batch:
    """The batch after the complete stage alone."""
    batch = batch_of(subject, chosen or settings(), images, labels, epsilon)
    for k in range(len(labels)):
        assert list(decide_open(batch, [k])) == [k]
    return batch


def steps_to(result: SearchResult):
    """A search that needs no computation."""

    def steps(*_: object) -> Steps[SearchResult]:
        yield from ()
        return result

    return steps


@pytest.fixture
def kinked(layers_of, subject_of):
    """Class 0 leads by relu(a) - a / 2 + height, a = x₀ - 0.5: positive, if height is, but not for CROWN."""

    def make(height: float) -> Subject:
        return subject_of(layers_of(HIDDEN, ([[1.0, -0.5], [0.0, 0.0]], [0.75 + height, 0.0])))

    return make


def status(batch: Batch, k: int = 0) -> tuple[str, str]:
    result = batch.result(k)
    return str(result.verdict), result.status


class TestStatuses:
    def test_proved_by_splitting(self, kinked):
        batch = decided(kinked(0.001), MIDDLE, [0], settings(search=replace(SEARCH, alpha=AdamSettings(0))))
        assert status(batch) == ("verified", "safe")
        assert batch.result(0).lower_bound == 0.0

    def test_proved_at_the_root(self, kinked):
        batch = decided(kinked(0.2), MIDDLE, [0])
        assert status(batch) == ("verified", "safe-incomplete")
        assert batch.result(0).lower_bound == 0.0

    def test_refuted(self, kinked):
        batch = decided(kinked(-0.001), MIDDLE, [0])
        assert status(batch) == ("falsified", "unsafe-bab")
        point = batch.counterexamples[0]
        assert float(batch.subject.module(point.unsqueeze(0)).diff(dim=1)) >= 0
        assert batch.result(0).margin <= 0

    def test_out_of_domains(self, kinked):
        chosen = settings(search=replace(SEARCH, alpha=AdamSettings(0), max_domains=0))
        batch = decided(kinked(0.001), MIDDLE, [0], chosen)
        assert status(batch) == ("unknown", "unknown")
        assert batch.result(0).lower_bound < 0

    def test_no_search(self, kinked):
        assert status(decided(kinked(0.001), MIDDLE, [0], settings(search=None))) == ("unknown", "unknown")

    def test_out_of_time_before(self, kinked, monkeypatch):
        monkeypatch.setattr(complete, "rigorous_bounds", lambda *_: pytest.fail("there is no time left"))
        for search in (SEARCH, None):
            batch = decided(kinked(0.001), MIDDLE, [0], settings(timeout=0.0, search=search))
            assert status(batch) == ("timeout", "timeout")

    def test_out_of_time_on_the_way(self, kinked, monkeypatch):
        monkeypatch.setattr(completion, "search_steps", steps_to(SearchResult(Verdict.TIMEOUT, 5, -0.25)))
        batch = decided(kinked(0.001), MIDDLE, [0])
        assert status(batch) == ("timeout", "timeout")
        assert batch.result(0).lower_bound == -0.25

    def test_out_of_time_before_there_is_a_core(self, layers_of, subject_of, monkeypatch):
        """The clock runs out while the bounds of the second layer are computed."""
        second = ([[1.0, -1.0], [1.0, -1.0]], [1.5, 1.5])
        subject = subject_of(layers_of(HIDDEN, second, ([[1.0, -1.0], [0.0, 0.0]], [-0.01, 0.0])))
        now = iter([0.0, 0.0, 0.0, *[9e9] * 99])
        monkeypatch.setattr(clock.time, "perf_counter", lambda: next(now))
        monkeypatch.setattr(complete, "reduce_to_core", lambda *_: pytest.fail("there is no time left"))
        assert status(decided(subject, MIDDLE, [0])) == ("timeout", "timeout")


class TestTimeAndBounds:
    def test_the_search_has_what_is_left_of_the_instances_time(self, kinked, monkeypatch):
        given = []

        def watch(core, chosen, check, budget):
            given.append(budget.left())
            return (yield from steps_to(SearchResult(Verdict.UNKNOWN))())

        monkeypatch.setattr(completion, "search_steps", watch)
        batch = batch_of(kinked(0.001), settings(timeout=100.0))
        batch.seconds[0] = 60.0
        list(decide_open(batch, [0]))
        assert 30 < given[0] < 40
        assert batch.seconds[0] > 60.0

    @pytest.mark.parametrize("known, found, kept", [(None, -0.3, -0.3), (-0.1, -0.3, -0.1), (-0.5, -0.3, -0.3)])
    def test_the_better_bound_is_kept(self, kinked, monkeypatch, known, found, kept):
        monkeypatch.setattr(completion, "search_steps", steps_to(SearchResult(Verdict.UNKNOWN, 3, found)))
        batch = batch_of(kinked(0.001), settings())
        if known is not None:
            batch.lower_bound[0] = known
        list(decide_open(batch, [0]))
        assert batch.lower_bound[0] == kept

    def test_only_margins_that_are_open_are_searched(self, layers_of, subject_of, monkeypatch):
        """Class 1 is kinked and near, class 2 far below: one margin is left."""
        out = ([[1.0, -0.5], [0.0, 0.0], [0.0, 0.0]], [0.751, 0.0, -5.0])
        sizes = []
        whole = completion.search_steps

        def watch(core, *rest):
            sizes.append(len(core.out_constant))
            return whole(core, *rest)

        monkeypatch.setattr(completion, "search_steps", watch)
        batch = decided(subject_of(layers_of(HIDDEN, out)), MIDDLE, [0])
        assert (sizes, batch.result(0).verdict) == ([1], "verified")
        far = subject_of(layers_of(HIDDEN, (out[0], [9.0, 0.0, -5.0])))
        assert status(decided(far, MIDDLE, [0])) == ("verified", "safe-incomplete")
        assert sizes == [1, 0]

    @pytest.mark.parametrize("value", [math.inf, math.nan])
    def test_a_margin_that_is_not_finite_is_open(self, kinked, monkeypatch, value):
        monkeypatch.setattr(literals, "margin_lower_bounds", lambda *_: torch.full((1, 1), value).double())
        assert status(decided(kinked(-0.001), MIDDLE, [0])) == ("falsified", "unsafe-bab")


class TestSideBySide:
    def test_verdicts_are_those_of_one_by_one(self, layers_of, subject_of):
        """Nine images around the kink; what differs is the order in which the searches end."""
        subject = subject_of(layers_of(HIDDEN, ([[1.0, -0.5], [0.0, 0.0]], [0.751, 0.0])))
        images = torch.cat([MIDDLE + 0.03 * k for k in range(-4, 5)])
        results = []
        for count in (1, 4, 9):
            cases = cases_at(subject, images, torch.zeros(9).long())
            found = verify_boxes(subject, cases, settings(search_together=count))
            results.append({result.index: result for result in found})
        assert {str(result.verdict) for result in results[0].values()} == {"verified"}
        for other in results[1:]:
            assert {k: (r.verdict, r.status) for k, r in other.items()} == {
                k: (r.verdict, r.status) for k, r in results[0].items()
            }

    def test_bounds_are_computed_at_once(self, kinked, monkeypatch):
        calls = []
        whole = complete.rigorous_bounds

        def watched(batch, positions, *rest):
            calls.append(list(positions))
            return whole(batch, positions, *rest)

        monkeypatch.setattr(complete, "rigorous_bounds", watched)
        batch = batch_of(kinked(0.001), settings(), MIDDLE.repeat(3, 1), [0] * 3)
        assert sorted(decide_open(batch, [0, 2])) == [0, 2]
        assert calls == [[0, 2], [0], [2]], "the first call's are used by the others"
        assert batch.open() == [1]

    def test_counterexamples_are_each_instances_own(self, kinked):
        images = torch.cat([MIDDLE, MIDDLE + 0.2, MIDDLE - 0.05])
        batch = batch_of(kinked(-0.001), settings(), images, [0] * 3)
        assert sorted(decide_open(batch, [0, 1, 2])) == [0, 1, 2]
        assert [str(batch.result(k).verdict) for k in range(3)] == ["falsified", "verified", "falsified"]
        for k in (0, 2):
            assert (batch.counterexamples[k] - images[k]).abs().max() <= 0.1 + 1e-6

    def test_time_is_charged_once(self, kinked):
        batch = batch_of(kinked(0.001), settings(), MIDDLE.repeat(4, 1), [0] * 4)
        start = time.perf_counter()
        assert len(list(decide_open(batch, [0, 1, 2, 3]))) == 4
        assert 0 < sum(batch.seconds) <= time.perf_counter() - start


class Failing:
    """A search that raises `error` while its batch is larger than `fits`; it remembers the batch sizes."""

    def __init__(self, monkeypatch, error: Exception, fits: int = 0, only: int | None = None) -> None:
        self.error, self.fits, self.only, self.sizes = error, fits, only, []
        self.whole = complete._search
        monkeypatch.setattr(complete, "_search", self)
        monkeypatch.setattr(gc, "collect", lambda: 0)  # slow among many tests; see `test_memory`

    def __call__(self, batch: Batch, k: int, chosen: SearchSettings, budget: Budget) -> Steps[tuple[SearchResult, str]]:
        self.sizes.append(chosen.batch_size)
        if chosen.batch_size > self.fits and self.only in (None, k):
            raise self.error
        return (yield from self.whole(batch, k, chosen, budget))


NO_MEMORY = [torch.OutOfMemoryError("no"), MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't")]


class TestFailures:
    @pytest.mark.parametrize("error", NO_MEMORY, ids=lambda error: type(error).__name__)
    def test_where_memory_runs_out_half_as_many_subproblems_are_tried(self, kinked, monkeypatch, error):
        search = Failing(monkeypatch, error, fits=16)
        assert status(decided(kinked(0.001), MIDDLE, [0])) in [("verified", "safe"), ("verified", "safe-incomplete")]
        assert search.sizes == [64, 32, 16]

    @pytest.mark.parametrize("error", NO_MEMORY, ids=lambda error: type(error).__name__)
    def test_until_not_even_one_fits(self, kinked, monkeypatch, error):
        search = Failing(monkeypatch, error)
        batch = decided(kinked(0.001), torch.cat([MIDDLE, MIDDLE]), [0, 0])
        assert search.sizes == [64, 32, 16, 8, 4, 2, 1] * 2, "the next instance starts afresh"
        assert [status(batch, k) for k in (0, 1)] == [("out-of-memory", "out-of-memory")] * 2
        assert batch.result(0).reason == failure(error)

    def test_another_error_costs_this_instance_alone(self, kinked, monkeypatch):
        search = Failing(monkeypatch, ValueError("first line\nsecond line"), only=1)
        batch = decided(kinked(0.2), MIDDLE.repeat(3, 1), [0, 0, 0])
        assert [str(batch.result(k).verdict) for k in range(3)] == ["verified", "error", "verified"]
        assert batch.result(1).reason == "ValueError: first line"
        assert status(batch, 1) == ("error", "error")
        assert search.sizes == [64] * 3
        assert all(seconds > 0 for seconds in batch.seconds)

    def test_side_by_side_it_costs_this_instance_alone_too(self, kinked, monkeypatch):
        search = Failing(monkeypatch, MemoryError("no"), fits=16, only=1)
        batch = batch_of(kinked(0.001), settings(), MIDDLE.repeat(3, 1), [0] * 3)
        assert list(decide_open(batch, [0, 1, 2]))[-1] == 1
        assert [str(batch.result(k).verdict) for k in range(3)] == ["verified"] * 3
        assert search.sizes == [64, 64, 64, 32, 16]

    def test_an_interruption_is_no_failure(self, kinked, monkeypatch):
        Failing(monkeypatch, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            decided(kinked(0.2), MIDDLE, [0])

    def test_one_line_on_what_went_wrong(self):
        assert failure(ValueError("a\nb")) == "ValueError: a"
        assert failure(MemoryError()) == "MemoryError: no message"


class TestCounterexamples:
    def test_points_outside_are_moved_into_the_box_first(self, compare):
        batch = batch_of(compare, settings(), torch.tensor([[0.55, 0.45]]))
        found = complete._counterexample(batch, 0, torch.tensor([[-7.0, 9.0], [0.55, 0.45]]).double())
        box = batch.specification.box[:1]
        assert torch.equal(found, batch.counterexamples[0])
        assert ((found.double() >= box.lower[0]) & (found.double() <= box.upper[0])).all()
        assert found.tolist() == pytest.approx([0.45, 0.55])
        assert batch.margin[0] == pytest.approx(-0.1)

    def test_points_that_fool_only_outside_are_none(self, compare):
        batch = batch_of(compare, settings(), torch.tensor([[0.9, 0.2]]))
        assert complete._counterexample(batch, 0, torch.tensor([[0.0, 1.0]])) is None
        assert batch.counterexamples == {} and batch.margin[0] == pytest.approx(0.5)

    def test_the_original_model_has_the_last_word(self, kinked):
        """A graph that says otherwise than the module convinces nobody."""
        subject = kinked(0.2)
        wrong = Subject(subject.module, kinked(-0.2).network, kinked(-0.2).exact)
        batch = decided(wrong, MIDDLE, [0])
        assert status(batch) == ("unknown", "unknown")
        assert batch.counterexamples == {}

    def test_images_keep_their_shape(self):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)).requires_grad_(False)
        image = torch.rand(1, 1, 3, 3)
        module[3].bias -= module(image)[0] - torch.tensor([0.01, 0.0])
        subject = Subject.prepare(module, from_module(module, (1, 3, 3)), "cpu", False)
        batch = decided(subject, image, [0], settings(), 0.5)
        assert status(batch) == ("falsified", "unsafe-bab")
        assert batch.counterexamples[0].shape == (1, 3, 3)


def random_net(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = [nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 5), nn.LeakyReLU(0.1), nn.Linear(5, 3)]
    module = nn.Sequential(*layers).requires_grad_(False)
    for layer in module[::2]:
        layer.weight *= 2.5
    return module


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("method", ["crown", "interval"])
def test_every_verdict_is_the_truth(subject_of, method, double):
    seen: list[InstanceResult] = []
    for seed in range(4):
        module = random_net(seed)
        subject = subject_of(module, double=double)
        images = torch.rand(8, 2, generator=torch.Generator().manual_seed(seed))
        labels = module(images).argmax(1)
        search = replace(SEARCH, branching=BranchingSettings("babsr"))
        chosen = settings(search, method=method, incomplete=seed % 2 == 0, double=double)
        cases = cases_at(subject, images, labels, robustness=0.12)
        results = list(verify_boxes(subject, cases, chosen))
        rows = robustness_rows(labels, 3, torch.float64)
        for k, result in enumerate(results):
            box = Batch(subject, chosen, cases).specification.box[k : k + 1]
            least = float(exact_minima(subject.exact, box, rows[k]).min())
            assert abs(least) > 1e-5, "no close call"
            assert result.verdict == (Verdict.VERIFIED if least > 0 else Verdict.FALSIFIED), (seed, k, least)
            assert result.verdict == Verdict.FALSIFIED or 0 <= result.lower_bound <= least
            corner = evaluate(subject.exact, box.lower) @ rows[k].T
            assert least <= float(corner.min()) + 1e-12
        seen += results
    assert {r.status for r in seen} >= {"safe", "unsafe-bab", "safe-incomplete"}
