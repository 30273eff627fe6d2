"""Cases: what the verdicts on their boxes make, in batches, within their time, and by exact judgement."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from image_cases import cases_at
from torch import nn

from abcrown_graft.attack.pgd import PGDSettings
from abcrown_graft.geometry.box import Box
from abcrown_graft.geometry.specification import Specification
from abcrown_graft.search.bab import SearchSettings
from abcrown_graft.verdict import NO_LABEL, InstanceResult, Verdict
from abcrown_graft.verify import batches, cases
from abcrown_graft.verify.case import Case
from abcrown_graft.verify.cases import NOT_EXACT, off_the_faces, verify_cases
from abcrown_graft.verify.problem import Subject, VerifySettings

SETTINGS = VerifySettings(attack=PGDSettings(steps=20, restarts=3), timeout=60.0, search=SearchSettings())


def below(bound: float, low: float = -1.0, high: float = 1.0) -> Specification:
    """The output is below this over `[low, high]` in both inputs."""
    ends = (torch.full((1, 2), end, dtype=torch.float64) for end in (low, high))
    offsets = torch.full((1, 1, 1), bound, dtype=torch.float64)
    return Specification(Box(*ends), -torch.ones(1, 1, 1, 1, dtype=torch.float64), offsets)


def case(index: int, *specifications: Specification, judge=lambda point, output: True, spent: float = 0.0) -> Case:
    return Case(index, specifications, judge=judge, spent=spent)


@pytest.fixture(scope="module")
def norm(layers_of, subject_of):
    """|x_0| + |x_1|."""
    return subject_of(layers_of(([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], [0.0] * 4), ([[1.0] * 4], [0.0])))


def run(subject, *given: Case, settings: VerifySettings = SETTINGS, found=None) -> list[InstanceResult]:
    callback = None if found is None else found.__setitem__
    return list(verify_cases(subject, given, settings, None, callback))


def verdicts(results: list[InstanceResult]) -> list[str]:
    return [str(result.verdict) for result in results]


GOOD, BAD = below(2.1), below(1.9)


def test_cases_of_one_box_share_a_batch_and_keep_their_order(norm, monkeypatch):
    sizes = []
    whole = batches.Batch

    def counted(subject, settings, cases):
        sizes.append(len(cases))
        return whole(subject, settings, cases)

    monkeypatch.setattr(batches, "Batch", counted)
    found: dict[int, torch.Tensor] = {}
    results = run(norm, case(7, GOOD), case(3, BAD), case(5, below(0.5, 0.0, 0.2)), found=found)
    assert sizes == [3]
    assert [r.index for r in results] == [7, 3, 5]
    assert verdicts(results) == ["verified", "falsified", "verified"]
    assert all((r.label, r.predicted) == (NO_LABEL, NO_LABEL) for r in results)
    assert list(found) == [3] and found[3].dtype == torch.float32 and found[3].abs().sum() >= 1.9


@pytest.mark.parametrize("batch_size", [1, 2, 64])
@pytest.mark.parametrize(
    ("queries", "expected"),
    [
        ((GOOD, below(2.05)), "verified"),
        ((GOOD, BAD), "falsified"),
        ((BAD, GOOD), "falsified"),
        ((GOOD, below(5.0), below(3.0, 0.0, 1.0)), "verified"),
        ((below(3.0, -2.0, 0.0), below(3.0, 0.0, 1.0), GOOD), "falsified"),
        ((), "verified"),
    ],
)
def test_all_boxes_must_hold(norm, queries, expected, batch_size):
    settings = VerifySettings(attack=SETTINGS.attack, batch_size=batch_size, search=SearchSettings(batch_size=4))
    (result,) = run(norm, case(4, *queries), settings=settings)
    assert (result.index, str(result.verdict)) == (4, expected)
    assert (result.lower_bound is None) == (expected == "falsified" or not queries)


def test_boxes_that_bounds_leave_open_are_searched(subject_of):
    """A random network's maximum, known from a grid, is undercut by so little that bounds alone cannot tell."""
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(2, 10), nn.ReLU(), nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 1))
    subject = subject_of(module.requires_grad_(False))
    grid = torch.cartesian_prod(*[torch.linspace(-3, 3, 301)] * 2)
    most = float(module(grid).max())
    settings = VerifySettings(attack=None, search=None)
    several = case(0, below(most + 0.01, -3.0, 2.5), below(most + 0.01, -2.5, 3.0))
    assert verdicts(run(subject, several, settings=settings)) == ["unknown"]
    (result,) = run(subject, several)
    assert (result.verdict, result.status) == (Verdict.VERIFIED, "safe")
    assert 0 <= result.lower_bound <= 0.02
    assert verdicts(run(subject, case(0, below(most + 0.01, -3.0, 2.5), below(most - 0.01, -3.0, 3.0)))) == [
        "falsified"
    ]


@pytest.mark.parametrize("queries", [(GOOD,), (GOOD, GOOD)])
def test_time_that_is_gone_before_is_gone(norm, queries):
    (result,) = run(norm, case(0, *queries, spent=61.0))
    assert (result.verdict, result.status, result.seconds) == (Verdict.TIMEOUT, "timeout", 61.0)
    (result,) = run(norm, case(0, *queries, spent=30.0))
    assert result.verdict is Verdict.VERIFIED and 30.0 < result.seconds < 60.0


def test_one_that_is_late_does_not_stop_its_neighbours(norm):
    assert verdicts(run(norm, case(0, GOOD), case(1, GOOD, spent=99.0), case(2, GOOD))) == [
        *("verified", "timeout", "verified")
    ]


def test_boxes_left_when_the_time_is_over_are_a_timeout(norm, monkeypatch):
    """Each look at the clock takes a second of six; the cheap stages prove nothing."""
    clock = iter(range(1000))
    monkeypatch.setattr(cases.time, "perf_counter", lambda: float(next(clock)))
    settings = VerifySettings(attack=None, incomplete=False, timeout=6.0, search=SearchSettings())
    (result,) = run(norm, case(0, *[GOOD] * 20), settings=settings)
    assert result.verdict is Verdict.TIMEOUT and result.seconds > 6


@pytest.mark.parametrize("queries", [(BAD,), (GOOD, BAD)])
def test_a_counterexample_that_the_judge_refuses_is_none(norm, queries):
    found: dict[int, torch.Tensor] = {}
    (result,) = run(norm, case(0, *queries, judge=lambda point, output: False), found=found)
    assert (result.verdict, result.status, result.reason) == (Verdict.UNKNOWN, "unknown", NOT_EXACT)
    assert not found


def test_the_other_boxes_go_on_after_a_counterexample_that_is_refused(norm):
    asked = []
    found: dict[int, torch.Tensor] = {}
    (result,) = run(norm, case(0, BAD, BAD, judge=lambda *pair: asked.append(pair) or len(asked) > 2), found=found)
    assert result.verdict is Verdict.FALSIFIED and 0 in found


def test_the_judge_gets_the_point_and_the_output_of_the_original_model(norm):
    asked = []

    def judge(point, output):
        asked.append((point, output))
        return len(asked) == 2

    found: dict[int, torch.Tensor] = {}
    (result,) = run(norm, case(0, below(1.999), judge=judge), found=found)
    assert result.verdict is Verdict.FALSIFIED
    for point, output in asked:
        assert torch.equal(norm.module(point[None])[0], output)
    assert torch.equal(found[0], asked[1][0]) and torch.equal(asked[1][0], off_the_faces(asked[0][0], below(2.0).box))


def test_off_the_faces_is_one_step_inside():
    box = Box(torch.tensor([[0.0, 0.0, 0.5, -1.0]]).double(), torch.tensor([[1.0, 1.0, 0.5, 1.0]]).double())
    moved = off_the_faces(torch.tensor([0.0, 1.0, 0.5, 0.25]), box)
    assert moved.tolist() == [float(np.float32(np.nextafter(np.float32(0), 1))), 1 - 2.0**-24, 0.5, 0.25]


def test_a_crash_is_an_error_and_the_other_cases_go_on(layers_of, subject_of):
    subject = subject_of(layers_of(([[math.nan, 1.0]], [0.0])))
    results = run(subject, case(0, GOOD), case(1), case(2, GOOD, GOOD))
    assert verdicts(results) == ["error", "verified", "error"]
    assert all(result.reason for result in results if result.verdict is Verdict.ERROR)


def test_a_point_that_the_model_takes_in_double(norm):
    found: dict[int, torch.Tensor] = {}
    double = Subject(copy.deepcopy(norm.module).double(), norm.network, norm.exact, torch.float64)
    (result,) = verify_cases(double, [case(0, BAD)], SETTINGS, None, found.__setitem__)
    assert result.verdict is Verdict.FALSIFIED and found[0].dtype == torch.float64


class TestImages:
    """A label, and an input of their own that is tried first."""

    @pytest.fixture
    def images(self, compare) -> list[Case]:
        points = torch.tensor([[0.9, 0.1], [0.52, 0.48], [0.1, 0.9]])
        return cases_at(compare, points, torch.zeros(3).long(), [5, 3, 8])

    def test_results_have_their_label_and_the_class_of_the_clean_image(self, compare, images):
        results = run(compare, *images)
        assert verdicts(results) == ["verified", "falsified", "falsified"]
        assert [(r.index, r.label, r.predicted) for r in results] == [(5, 0, 0), (3, 0, 0), (8, 0, 1)]

    def test_one_that_is_wrong_as_it_is_is_its_own_counterexample(self, compare, images):
        found: dict[int, torch.Tensor] = {}
        run(compare, *images, found=found)
        assert sorted(found) == [3, 8] and torch.equal(found[8], images[2].clean)

    def test_without_any_time_the_clean_image_is_looked_at(self, compare, images):
        results = run(compare, *images, settings=replace(SETTINGS, timeout=0.0))
        assert [r.predicted for r in results] == [0, 0, 1]
        assert results[2].verdict is Verdict.FALSIFIED, "it is wrong as it is"

    def test_a_recorder_sees_them_and_no_case_of_several_boxes(self, compare, images):
        class Watcher:
            after_bounds = False
            seen: list[int] = []

            def __call__(self, batch):
                self.seen += batch.indices

        several = replace(images[0], index=9, specifications=images[0].specifications * 2)
        list(verify_cases(compare, [*images, several], SETTINGS, Watcher()))
        assert Watcher.seen == [5, 3, 8]


def test_what_is_remarkable_of_a_property_is_the_reason_of_its_result(norm):
    told = "p.vnnlib:7: lines 5 and 7 contradict each other"
    given = [
        replace(case(3), warning=told),
        replace(case(4, below(-1.0)), warning=told),
        replace(case(5, below(-1.0), judge=lambda point, output: False), warning=told),
        case(6, below(-1.0)),
    ]
    found = {result.index: (result.verdict, result.reason) for result in run(norm, *given)}
    assert found[3] == (Verdict.VERIFIED, told)
    assert found[4] == (Verdict.FALSIFIED, told)
    assert found[5] == (Verdict.UNKNOWN, NOT_EXACT)
    assert found[6] == (Verdict.FALSIFIED, None)
