from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from image_cases import cases_at

from abcrown_graft.attack.pgd import PGDSettings
from abcrown_graft.search.bab import SearchSettings
from abcrown_graft.verdict import InstanceResult, Verdict
from abcrown_graft.verify import problem
from abcrown_graft.verify.batches import verify_boxes
from abcrown_graft.verify.case import Case
from abcrown_graft.verify.memory import is_out_of_memory
from abcrown_graft.verify.problem import Batch, Subject, VerifySettings

INDICES = [30, 7, 2, 99, 4, 5, 6, 11]
GAPS = torch.tensor([0.3, 0.1, -0.2, 0.5, 0.6, 0.1, 0.3, -0.1])
EXPECTED = ["verified", "falsified", "falsified", "verified", "verified", "falsified", "verified", "falsified"]
IMAGES = torch.stack([0.5 + GAPS / 2, 0.5 - GAPS / 2], dim=1)


class Saboteur:
    """A stage that raises `error` for batches it does not like; it counts the batches it has seen."""

    def __init__(self, error: BaseException, largest: int | None = None, never: Sequence[int] = ()) -> None:
        self.after_bounds = False
        self.error, self.largest, self.never = error, largest, set(never)
        self.sizes: list[int] = []

    def __call__(self, batch: Batch) -> None:
        self.sizes.append(len(batch.cases))
        with batch.shared_time():
            too_many = self.largest is not None and len(batch.cases) > self.largest
            if too_many or self.never & set(batch.indices):
                raise self.error


def cases(subject: Subject) -> list[Case]:
    return cases_at(subject, IMAGES, torch.zeros(len(IMAGES), dtype=torch.int64), INDICES)


def run(subject: Subject, recorder=None, on_counterexample=None, **options) -> list[InstanceResult]:
    settings = VerifySettings(attack=PGDSettings(steps=10, restarts=2), **options)
    return list(verify_boxes(subject, cases(subject), settings, recorder, on_counterexample))


@pytest.mark.parametrize("batch_size", [1, 3, 8, 100])
def test_results_come_in_the_order_of_the_images_whatever_the_batches(compare, batch_size):
    results = run(compare, batch_size=batch_size)
    assert [r.index for r in results] == INDICES
    assert [r.verdict for r in results] == EXPECTED
    assert all(r.seconds > 0 and r.reason is None for r in results)


def test_no_images_no_results(compare):
    assert list(verify_boxes(compare, [], VerifySettings())) == []


def test_time_that_is_gone_counts(compare):
    settings = VerifySettings(attack=None, timeout=1e6, incomplete=False, search=SearchSettings())

    def verified(spent: list[float]) -> list[InstanceResult]:
        given = [replace(case, spent=seconds) for case, seconds in zip(cases(compare), spent, strict=True)]
        return list(verify_boxes(compare, given, settings))

    spent = [10.0 * k for k in range(len(IMAGES))]
    results = verified(spent)
    assert all(before <= r.seconds < before + 9 for r, before in zip(results, spent, strict=True))
    late = [*[2e6] * 4, *spent[4:]]
    assert [r.verdict for r in verified(late)] == ["timeout", "timeout", "falsified", "timeout", *EXPECTED[4:]]


def test_verdicts_are_yielded_as_batches_finish(compare):
    watcher = Saboteur(RuntimeError())
    settings = VerifySettings(attack=None, batch_size=2)
    asked: list[int] = []
    given = (asked.append(case.index) or case for case in cases(compare))
    found = verify_boxes(compare, given, settings, watcher)
    assert next(found).index == 30
    assert watcher.sizes == [2] and asked == INDICES[:2]
    next(found)
    next(found)
    assert watcher.sizes == [2, 2]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
@pytest.mark.parametrize("largest", [1, 2, 3, 5, 7])
def test_a_batch_that_does_not_fit_into_memory_is_halved(compare, error, largest):
    saboteur = Saboteur(error, largest)
    results = run(compare, saboteur)
    assert [(r.index, r.verdict) for r in results] == list(zip(INDICES, EXPECTED, strict=True))
    assert saboteur.sizes[:2] == [8, 4]
    assert sum(size for size in saboteur.sizes if size <= largest) == 8, "no image goes through twice"


def test_an_image_that_never_fits_is_out_of_memory_and_the_others_are_not(compare):
    results = run(compare, Saboteur(torch.OutOfMemoryError("CUDA out of memory.\nTried"), never=[99]))
    expected = dict(zip(INDICES, EXPECTED, strict=True)) | {99: "out-of-memory"}
    assert {r.index: r.verdict for r in results} == expected
    (failed,) = (r for r in results if r.index == 99)
    assert failed.status == "out-of-memory"
    assert failed.reason == "OutOfMemoryError: CUDA out of memory."
    assert (failed.label, failed.predicted) == (0, 0)


def test_an_image_that_fails_is_an_error_with_its_reason_and_the_others_get_their_verdicts(compare):
    saboteur = Saboteur(ZeroDivisionError("no\nway"), never=[7, 6])
    results = run(compare, saboteur)
    expected = dict(zip(INDICES, EXPECTED, strict=True)) | {7: "error", 6: "error"}
    assert [(r.index, r.verdict) for r in results] == list(expected.items())
    assert [r.reason for r in results if r.verdict == Verdict.ERROR] == ["ZeroDivisionError: no"] * 2
    assert saboteur.sizes == [8] + [1] * 8


def test_an_error_without_words_has_a_reason_too(compare):
    (*_, failed) = run(compare, Saboteur(KeyError(), never=[11]))
    assert failed.reason == "KeyError: no message"


def test_an_interrupt_is_not_swallowed(compare):
    with pytest.raises(KeyboardInterrupt):
        run(compare, Saboteur(KeyboardInterrupt(), never=[7]))


def test_memory_that_this_machine_does_not_have():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError())
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("DefaultCPUAllocator"))


def test_counterexamples_are_handed_over_before_their_verdicts(compare):
    events: list[tuple[str, int]] = []
    points: dict[int, torch.Tensor] = {}

    def keep(index: int, point: torch.Tensor) -> None:
        events.append(("counterexample", index))
        points[index] = point

    settings = VerifySettings(attack=PGDSettings(steps=10, restarts=2), batch_size=4)
    for result in verify_boxes(compare, cases(compare), settings, None, keep):
        events.append((str(result.verdict), result.index))
    falsified = [index for index, verdict in zip(INDICES, EXPECTED, strict=True) if verdict == "falsified"]
    assert sorted(points) == sorted(falsified)
    for index in falsified:
        assert events.index(("counterexample", index)) < events.index(("falsified", index))
        assert events.count(("counterexample", index)) == 1
        assert compare.module(points[index].unsqueeze(0)).diff(dim=1) >= 0


def test_a_counterexample_that_cannot_be_kept_is_no_failure_of_the_image(compare):
    def full_disk(index: int, point: torch.Tensor) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        run(compare, on_counterexample=full_disk)


def test_without_time_nothing_is_left_open_but_timeouts(compare):
    """Clean predictions come nevertheless; the attack does not begin, and what is open has run out of time."""
    results = run(compare, timeout=0.0)
    assert all(str(r.verdict) in ("timeout", known) for r, known in zip(results, EXPECTED, strict=True))
    assert [r.index for r in results if r.verdict == Verdict.FALSIFIED] == [2, 11], "misclassified"
    settings = VerifySettings(attack=None, incomplete=False, timeout=0.0)
    skipped = list(verify_boxes(compare, cases(compare), settings))
    assert {str(r.verdict) for r in skipped} == {"timeout", "falsified"}
    assert [r.index for r in skipped if r.verdict == Verdict.FALSIFIED] == [2, 11], "misclassified"


class Ticking:
    """A clock that moves one second whenever it is read."""

    def __init__(self) -> None:
        self.reads = 0

    def perf_counter(self) -> float:
        self.reads += 1
        return float(self.reads)


@pytest.mark.parametrize("largest", [None, 3, 1])
def test_the_time_of_all_images_is_the_time_that_passed(compare, monkeypatch, largest):
    """Every timed body lasts one tick, also those that run out of memory and are done again."""
    clock = Ticking()
    monkeypatch.setattr(problem, "time", clock)
    saboteur = Saboteur(MemoryError(), largest)
    settings = VerifySettings(attack=None, incomplete=False)
    three = cases_at(compare, IMAGES[[0, 3, 4]], torch.zeros(3, dtype=torch.int64), robustness=0.5)
    results = list(verify_boxes(compare, three, settings, saboteur))
    assert sum(r.seconds for r in results) == pytest.approx(clock.reads / 2, abs=0.01)
    assert [r.verdict for r in results] == ["unknown"] * 3
