from __future__ import annotations

import math

import pytest
import torch
from image_cases import cases_at
from torch import nn

from abcrown_graft.attack import pgd
from abcrown_graft.attack.pgd import AttackResult, PGDSettings
from abcrown_graft.bounds import literals
from abcrown_graft.geometry.box import Box
from abcrown_graft.network.forward import evaluate
from abcrown_graft.verdict import InstanceResult, Verdict
from abcrown_graft.verify import problem, stages
from abcrown_graft.verify.complete import decide_open
from abcrown_graft.verify.points import inside_box
from abcrown_graft.verify.problem import Batch, Subject, VerifySettings
from abcrown_graft.verify.stages import cascade, clean_prediction

ATTACK = PGDSettings(steps=15, restarts=4)
CORRECT = torch.tensor([[0.8, 0.2]])


def settings(**options) -> VerifySettings:
    return VerifySettings(**{"attack": ATTACK, **options})


def batch_of(
    subject: Subject, images: torch.Tensor, labels: list[int], chosen: VerifySettings, epsilon: float = 0.1
) -> Batch:
    return Batch(subject, chosen, cases_at(subject, images, torch.tensor(labels), robustness=epsilon))


def through(
    subject: Subject,
    images: torch.Tensor,
    labels: list[int],
    chosen: VerifySettings | None = None,
    epsilon: float = 0.1,
) -> Batch:
    """The batch after the whole cascade, without search."""
    batch = batch_of(subject, images, labels, chosen or settings(), epsilon)
    for stage in cascade(batch.settings):
        stage(batch)
    for k in batch.open():
        list(decide_open(batch, [k]))
    return batch


def results_of(batch: Batch) -> list[InstanceResult]:
    return [batch.result(k) for k in range(len(batch.cases))]


def decided(subject: Subject, images: torch.Tensor, labels: list[int], chosen=None) -> list[InstanceResult]:
    return results_of(through(subject, images, labels, chosen))


class TestKnownTruth:
    """The margin of `compare` is x₀ - x₁ for class 0: robust if and only if it is larger than 2 ε."""

    @pytest.mark.parametrize("method", ["crown", "interval"])
    @pytest.mark.parametrize("double", [False, True])
    def test_every_image_of_a_linear_classifier_is_decided_rightly(self, layers_of, subject_of, method, double):
        subject = subject_of(layers_of(([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])), double=double)
        gaps = torch.tensor([-0.3, 0.1, 0.19, 0.21, 0.3, 0.6])
        images = torch.stack([0.5 + gaps / 2, 0.5 - gaps / 2], dim=1)
        found = decided(subject, images, [0] * 6, settings(method=method, double=double))
        assert [r.verdict for r in found] == ["falsified"] * 3 + ["verified"] * 3
        assert [r.status for r in found] == ["unsafe-pgd"] * 3 + ["safe-incomplete"] * 3
        assert [r.predicted for r in found] == [1, 0, 0, 0, 0, 0]
        assert [r.lower_bound for r in found[3:]] == pytest.approx([0.01, 0.1, 0.4], abs=1e-6)
        assert [r.lower_bound for r in found[:3]] == [None] * 3

    def test_a_misclassified_image_is_its_own_counterexample(self, compare):
        batch = through(compare, CORRECT, [1])
        assert torch.equal(batch.counterexamples[0], CORRECT[0])
        found = batch.result(0)
        assert (found.verdict, found.status, found.predicted) == (Verdict.FALSIFIED, "unsafe-pgd", 0)
        assert found.margin == pytest.approx(-0.6)

    def test_a_tie_is_no_correct_prediction(self, compare):
        batch = through(compare, torch.tensor([[0.5, 0.5]]), [0], settings(attack=None, incomplete=False))
        assert batch.result(0).verdict == Verdict.FALSIFIED
        assert batch.counterexamples[0].tolist() == [0.5, 0.5]

    def test_a_counterexample_is_in_the_box_and_fools_the_module(self, compare):
        batch = through(compare, torch.tensor([[0.55, 0.45]]), [0])
        point = batch.counterexamples[0]
        box = batch.specification.box[:1]
        assert bool(((point.double() >= box.lower[0]) & (point.double() <= box.upper[0])).all())
        assert point.dtype == torch.float32
        assert int(compare.module(point.unsqueeze(0)).argmin()) == 0
        assert batch.result(0).margin == pytest.approx(float(point[0] - point[1]))

    def test_pixels_that_do_not_exist_are_not_searched(self, layers_of, subject_of):
        """Class 1 wins where x₀ > 1, which no image has."""
        subject = subject_of(layers_of(([[0.0, 0.0], [1.0, 0.0]], [1.01, 0.0])))
        found = decided(subject, torch.tensor([[0.95, 0.5], [0.05, 0.5]]), [0, 0])
        assert [r.verdict for r in found] == ["verified", "verified"]
        low = subject_of(layers_of(([[0.0, 0.0], [-1.0, 0.0]], [0.01, 0.0])))
        assert decided(low, torch.tensor([[0.05, 0.5]]), [0])[0].verdict == Verdict.VERIFIED

    def test_what_no_stage_decides_is_unknown_or_timeout(self, layers_of, subject_of):
        """relu(a) - a / 2 + 0.001, a = x₀ - 0.5, is positive, but CROWN's line below the kink is not."""
        hidden = ([[1.0, 0.0], [1.0, 0.0]], [-0.5, 1.0])
        subject = subject_of(layers_of(hidden, ([[1.0, -0.5], [0.0, 0.0]], [0.751, 0.0])))
        image = torch.tensor([[0.5, 0.5]])
        (unknown,) = decided(subject, image, [0])
        assert (unknown.verdict, unknown.status) == (Verdict.UNKNOWN, "unknown")
        assert unknown.lower_bound <= 0 < unknown.margin
        (late,) = decided(subject, image, [0], settings(timeout=0.0))
        assert (late.verdict, late.status) == (Verdict.TIMEOUT, "timeout")


def random_net(seed: int) -> nn.Sequential:
    """Three classes of about equal size on the unit square, with curved borders."""
    torch.manual_seed(seed)
    layers = [nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)]
    module = nn.Sequential(*layers).requires_grad_(False)
    for layer in module[::2]:
        layer.weight *= 3
    outputs = module(torch.rand(1000, 2))
    module[4].bias -= outputs.median(0).values
    return module


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_verdicts_agree_with_a_dense_grid(subject_of, seed, double):
    """verified: no grid point of the box violates; falsified: the counterexample does, in float64 too."""
    module = random_net(seed)
    subject = subject_of(module, double=double)
    images = torch.rand(24, 2, generator=torch.Generator().manual_seed(seed))
    labels = module(images).argmax(1).tolist()
    batch = through(subject, images, labels, settings(double=double), 0.06)
    box = batch.specification.box
    axis = torch.linspace(0, 1, 61, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    results = results_of(batch)
    for k, result in enumerate(results):
        others = [j for j in range(3) if j != labels[k]]
        if result.verdict == Verdict.VERIFIED:
            points = box.lower[k] + (box.upper[k] - box.lower[k]) * grid
            outputs = evaluate(subject.exact, points)
            margins = outputs[:, [labels[k]]] - outputs[:, others]
            assert 0 < result.lower_bound <= float(margins.min()) + 1e-12
        if result.verdict == Verdict.FALSIFIED:
            point = batch.counterexamples[k]
            assert bool(((point.double() >= box.lower[k]) & (point.double() <= box.upper[k])).all())
            outputs = module(point.unsqueeze(0))[0]
            assert outputs[labels[k]] <= outputs[others].max()
            exact = evaluate(subject.exact, point.double().unsqueeze(0))[0]
            assert exact[labels[k]] <= exact[others].max() + 1e-6
    assert {Verdict.VERIFIED, Verdict.FALSIFIED} <= {result.verdict for result in results}


class TestRounding:
    """Margins 0.25 - x₀ computed as 0.25 - (x₀ + big) + big: the sum swallows x₀ in low precision."""

    @staticmethod
    def swallowing(layers_of, big: float) -> nn.Sequential:
        return layers_of(([[1.0, 0.0]], [big]), ([[-1.0], [0.0]], [big, -0.25]))

    @pytest.mark.parametrize("method", ["crown", "interval"])
    def test_a_margin_that_is_positive_in_float32_alone_is_not_verified(self, layers_of, subject_of, method):
        subject = subject_of(self.swallowing(layers_of, 2.0**25))
        image = torch.tensor([[0.5, 0.5]])
        assert float(subject.module(image).diff(dim=1)) == -0.25, "float32 says that class 0 is ahead"
        assert float(evaluate(subject.exact, image.double()).diff(dim=1)) == 0.25, "it is behind"
        (found,) = decided(subject, image, [0], settings(method=method))
        assert found.verdict == Verdict.UNKNOWN
        assert found.lower_bound is None or found.lower_bound <= -0.35 + 1e-6, "no positive bound is reported"

    @pytest.mark.parametrize("method", ["crown", "interval"])
    @pytest.mark.parametrize("double", [False, True])
    def test_nor_is_one_that_is_positive_in_float64_alone(self, layers_of, subject_of, method, double):
        subject = subject_of(self.swallowing(layers_of, 2.0**55), double=double)
        image = torch.tensor([[0.5, 0.5]])
        assert float(evaluate(subject.exact, image.double()).diff(dim=1)) == -0.25, "float64 is wrong, too"
        (found,) = decided(subject, image, [0], settings(method=method, double=double))
        assert found.verdict == Verdict.UNKNOWN
        assert found.lower_bound is None or found.lower_bound < 0

    def test_a_counterexample_of_the_float64_graph_must_fool_the_module(self, layers_of, subject_of):
        subject = subject_of(self.swallowing(layers_of, 2.0**25), double=True)
        (found,) = decided(subject, torch.tensor([[0.5, 0.5]]), [0], settings(double=True))
        assert found.verdict == Verdict.UNKNOWN
        assert found.margin == 0.25

    @pytest.mark.parametrize("epsilon", [0.0, 1e-9, 2 / 255, 8 / 255, 0.1, 0.3, 1.0])
    def test_counterexamples_lie_in_the_float64_box_after_rounding(self, subject_of, epsilon):
        subject = subject_of(nn.Sequential(nn.Linear(512, 2)), 512)
        eighths = torch.arange(256) / 255
        generator = torch.Generator().manual_seed(0)
        images = torch.stack([torch.rand(512, generator=generator), eighths.repeat(2), torch.full((512,), epsilon)])
        batch = batch_of(subject, images, [0, 0, 0], settings(), epsilon)
        box, loose = batch.specification.box[:3], Box(images - 2.0, images + 2.0)
        for points in (batch.approximate.box.lower, batch.approximate.box.upper, loose.lower, loose.upper, images):
            for given in (points, points.double()):
                inside = inside_box(batch, [0, 1, 2], given)
                assert inside.dtype == torch.float32
                exact = inside.double()
                assert bool(((exact >= box.lower) & (exact <= box.upper)).all())
                moved = (exact - box.clamp(given.double())).abs()
                assert bool((moved <= 2**-23).all()), "by at most one rounding"
        assert torch.equal(inside_box(batch, [0, 1, 2], images), images)


class TestNothingThatIsNotFiniteVerifies:
    @pytest.mark.parametrize("weight", [math.nan, math.inf])
    def test_a_clean_output_that_is_not_finite_is_an_error(self, layers_of, subject_of, weight):
        subject = subject_of(layers_of(([[1.0, 0.0], [weight, 1.0]], [0.0, 0.0])))
        (found,) = decided(subject, CORRECT, [0])
        assert (found.verdict, found.status) == (Verdict.ERROR, "error")
        assert found.reason == "the model's output on the clean image is NaN or infinite"
        assert found.margin is None

    def test_it_does_not_touch_the_other_images(self, layers_of, subject_of):
        """exp-like blow-up: 3e38 · relu(2 x₀ - 1) is infinite in float32 at x₀ = 1 only."""
        subject = subject_of(layers_of(([[4.0, 0.0]], [-2.0]), ([[3e38], [0.0]], [0.5, 0.0])))
        found = decided(subject, torch.tensor([[1.0, 0.0], [0.2, 0.0]]), [0, 0])
        assert [r.verdict for r in found] == ["error", "verified"]

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("place", ["search", "decision", "both"])
    def test_a_bound_that_is_not_finite(self, compare, monkeypatch, value, place):
        whole = literals.margin_lower_bounds

        def broken(bounds, rows, method):
            wrong = place == "both" or (rows.dtype == torch.float64) == (place == "decision")
            return torch.full_like(whole(bounds, rows, method), value) if wrong else whole(bounds, rows, method)

        monkeypatch.setattr(literals, "margin_lower_bounds", broken)
        (found,) = decided(compare, CORRECT, [0])
        if (value, place) == (math.inf, "search"):
            assert found.verdict == Verdict.VERIFIED, "float64 alone decides"
            assert found.lower_bound == pytest.approx(0.4)
        else:
            assert found.verdict == Verdict.UNKNOWN
            assert found.lower_bound is None or not found.lower_bound > 0

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_one_bound_among_others_that_is_not_finite(self, layers_of, subject_of, monkeypatch, value):
        subject = subject_of(layers_of(([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], [0.0, 0.0, 0.0])))
        whole = literals.margin_lower_bounds

        def broken(bounds, rows, method):
            found = whole(bounds, rows, method).clone()
            found[:, 1] = value
            return found

        assert decided(subject, CORRECT, [0])[0].verdict == Verdict.VERIFIED
        monkeypatch.setattr(literals, "margin_lower_bounds", broken)
        assert decided(subject, CORRECT, [0])[0].verdict == Verdict.UNKNOWN

    @pytest.mark.parametrize("value", [0.0, -0.0, -1e-300, math.nan, math.inf])
    def test_a_proved_margin_must_be_positive_and_finite(self, compare, monkeypatch, value):
        monkeypatch.setattr(stages, "confirmed_margins", lambda *_: torch.tensor([value], dtype=torch.float64))
        assert decided(compare, CORRECT, [0])[0].verdict == Verdict.UNKNOWN


class TestAttacksAreChecked:
    @staticmethod
    def pretend(monkeypatch, point: torch.Tensor) -> None:
        """An attack that claims `point` to be a counterexample."""

        def claims(network, given, settings, seeds, stop):
            return AttackResult(point.expand_as(given.box.lower), torch.full((len(given),), -1.0))

        monkeypatch.setattr(stages, "pgd_attack", claims)

    def test_on_the_original_module(self, compare, monkeypatch):
        self.pretend(monkeypatch, torch.tensor([[0.7, 0.3]]))
        batch = through(compare, CORRECT, [0], settings(incomplete=False))
        assert batch.result(0).verdict == Verdict.UNKNOWN
        assert batch.result(0).margin == pytest.approx(0.4)
        assert not batch.counterexamples

    def test_inside_the_box(self, compare, monkeypatch):
        self.pretend(monkeypatch, torch.tensor([[0.0, 1.0]]))
        assert int(compare.module(torch.tensor([[0.0, 1.0]])).argmax()) == 1, "it would fool the module"
        batch = through(compare, CORRECT, [0], settings(incomplete=False))
        assert batch.result(0).verdict == Verdict.UNKNOWN
        assert batch.result(0).margin == pytest.approx(0.4), "the corner of the box that is next to it"

    def test_where_the_module_answers_nan(self, layers_of, subject_of, monkeypatch):
        subject = subject_of(layers_of(([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])))

        class Moody(nn.Module):
            def forward(self, x):
                return torch.where(x[:, :1] == 0.8, subject.exact.output.operator.weight.float() @ x[0], math.nan)

        moody = Subject(Moody(), subject.network, subject.exact)
        self.pretend(monkeypatch, torch.tensor([[0.75, 0.25]]))
        batch = through(moody, CORRECT, [0], settings(incomplete=False))
        assert batch.result(0).verdict == Verdict.UNKNOWN
        assert not batch.counterexamples

    def test_every_image_has_its_own_seed(self, compare, monkeypatch):
        seen = []

        def watched(network, given, settings, seeds, stop):
            seen.append(list(seeds))
            return AttackResult(given.box.lower, torch.ones(len(given)))

        monkeypatch.setattr(stages, "pgd_attack", watched)
        images = CORRECT.repeat(3, 1)
        through(compare, images, [0, 1, 0])
        through(compare, images, [0, 0, 0], settings(seed=101))
        assert len(seen[0]) == 2 and len(set(seen[1])) == 3
        assert not set(seen[0]) & set(seen[1])


class Watcher:
    def __init__(self, after_bounds: bool) -> None:
        self.after_bounds = after_bounds

    def __call__(self, batch: Batch) -> None: ...


@pytest.mark.parametrize(
    ("options", "after_bounds", "names"),
    [
        ({}, None, ["clean_prediction", "attack", "incomplete"]),
        ({"attack": None}, None, ["clean_prediction", "incomplete"]),
        ({"attack": None, "incomplete": False}, None, ["clean_prediction"]),
        ({}, False, ["clean_prediction", "attack", "Watcher", "incomplete"]),
        ({}, True, ["clean_prediction", "attack", "incomplete", "Watcher"]),
        ({"incomplete": False}, True, ["clean_prediction", "attack", "Watcher"]),
    ],
)
def test_the_cascade_is_cheapest_first(options, after_bounds, names):
    recorder = None if after_bounds is None else Watcher(after_bounds)
    found = cascade(settings(**options), recorder)
    assert [getattr(stage, "__name__", type(stage).__name__) for stage in found] == names


def test_a_decided_instance_is_left_alone(compare):
    batch = batch_of(compare, torch.cat([CORRECT, CORRECT]), [1, 0], settings())
    clean_prediction(batch)
    before = batch.decisions[0]
    for stage in cascade(batch.settings)[1:]:
        stage(batch)
    assert batch.decisions[0] is before
    assert batch.decisions[1].verdict == Verdict.VERIFIED
    assert 0 not in batch.lower_bound


class TestTheClock:
    """A clock that jumps an hour, at a look inside a stage."""

    @staticmethod
    def jumping(monkeypatch, looks: int) -> None:
        seen = []

        def tell() -> float:
            seen.append(1)
            return 0.0 if len(seen) <= looks else 3600.0

        monkeypatch.setattr(problem.time, "perf_counter", tell)

    def test_an_attack_stops(self, layers_of, subject_of, monkeypatch):
        """Class 0 wins everywhere, so that no start ends the attack."""
        subject = subject_of(layers_of(([[1.0, 0.0], [0.0, 1.0]], [5.0, 0.0])))
        steps, whole = [], pgd.evaluate
        monkeypatch.setattr(pgd, "evaluate", lambda *args: steps.append(1) or whole(*args))
        batch = batch_of(subject, CORRECT, [0], settings(timeout=60.0))
        clean_prediction(batch)
        self.jumping(monkeypatch, 4)
        stages.attack(batch)
        assert len(steps) < 8 and batch.open() == [0]
        assert batch.seconds[0] > 60

    def test_bounds_stop_and_the_instance_is_a_timeout(self, layers_of, subject_of, monkeypatch):
        layer = ([[4.0, -4.0], [-4.0, 4.0]], [-2.3, 2.3])
        subject = subject_of(layers_of(layer, layer, ([[1.0, -1.0], [0.0, 0.0]], [3.0, 0.0])))
        batch = batch_of(subject, CORRECT, [0], settings(timeout=60.0, attack=None, method="crown"))
        clean_prediction(batch)
        self.jumping(monkeypatch, 1)
        stages.incomplete(batch)
        assert batch.open() == [0] and batch.lower_bound[0] < -2, "interval bounds alone"
        list(decide_open(batch, [0]))
        assert str(batch.result(0).verdict) == "timeout"

    def test_in_time_nothing_stops(self, compare):
        assert str(through(compare, CORRECT, [0], settings(timeout=60.0)).result(0).verdict) == "verified"
