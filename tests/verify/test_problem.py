from __future__ import annotations

import pytest
import torch
from image_cases import cases_at
from torch import nn

from abcrown_graft.bounds.propagate import bound_network
from abcrown_graft.verdict import Verdict
from abcrown_graft.verify import problem
from abcrown_graft.verify.problem import Batch, Subject, VerifySettings


def batch_of(subject: Subject, count: int = 4, **settings) -> Batch:
    images = torch.rand(count, 2, generator=torch.Generator().manual_seed(0))
    cases = cases_at(subject, images, torch.arange(count) % 2, range(10, 10 + count))
    return Batch(subject, VerifySettings(**settings), cases)


class Clock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(problem, "time", made)
    return made


@pytest.fixture
def subject(subject_of) -> Subject:
    torch.manual_seed(0)
    return subject_of(nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)))


@pytest.mark.parametrize(("double", "dtype"), [(False, torch.float32), (True, torch.float64)])
def test_the_search_has_its_precision_and_the_decision_is_in_float64(subject_of, double, dtype):
    subject = subject_of(nn.Sequential(nn.Linear(2, 3)), double=double)
    batch = batch_of(subject, double=double)
    weight = subject.network.output.operator.weight
    assert weight.dtype == batch.approximate.box.lower.dtype == batch.approximate.rows.dtype == dtype
    assert subject.exact.output.operator.weight.dtype == batch.specification.box[:1].lower.dtype == torch.float64
    assert subject.module[0].weight.dtype == batch.inputs.dtype == torch.float32


def test_the_module_is_put_in_evaluation_mode(subject_of):
    assert not subject_of(nn.Sequential(nn.Linear(2, 3)).train()).module.training


def test_an_instance_is_decided_once(subject):
    batch = batch_of(subject)
    assert batch.open() == [0, 1, 2, 3]
    batch.decide(2, Verdict.VERIFIED, "safe")
    assert batch.open() == [0, 1, 3]
    with pytest.raises(RuntimeError, match="instance 12 is decided twice"):
        batch.decide(2, Verdict.UNKNOWN, "unknown")


@pytest.mark.parametrize("method", ["interval", "crown"])
def test_bounds_are_those_of_the_network_in_the_order_asked_for(subject, method):
    batch = batch_of(subject)
    direct = bound_network(subject.network, batch.approximate.box, method)
    for positions in ([0, 1, 2, 3], [3, 1], [2], [0, 3]):
        found = batch.bounds(positions, method)
        torch.testing.assert_close(found.output.lower, direct.output.lower[positions])
        torch.testing.assert_close(found.box.upper, batch.approximate.box.upper[positions])


def test_bounds_are_computed_once_where_the_last_ones_serve(subject, monkeypatch):
    calls = []

    def counted(network, box, method, raise_if_late):
        calls.append((len(box), method))
        return bound_network(network, box, method)

    monkeypatch.setattr(problem, "bound_network", counted)
    batch = batch_of(subject)
    for positions, method in (([0, 1, 2], "crown"), ([2, 0], "crown"), ([3], "crown"), ([3], "interval")):
        batch.bounds(positions, method)
    assert calls == [(3, "crown"), (1, "crown"), (1, "interval")]


def test_time_is_shared_by_the_instances_that_were_open(subject, clock):
    batch = batch_of(subject)
    with batch.shared_time() as positions:
        assert positions == [0, 1, 2, 3]
        clock.now += 4.0
        batch.decide(1, Verdict.VERIFIED, "safe")
    with batch.shared_time() as positions:
        assert positions == [0, 2, 3]
        clock.now += 6.0
    assert batch.seconds == [3.0, 1.0, 3.0, 3.0]


def test_time_is_over_when_an_instances_share_exceeds_what_it_has_left(subject, clock):
    batch = batch_of(subject, 2)
    batch.seconds = [0.0, batch.settings.timeout - 3.0]
    assert not batch.late(), "nothing is shared"
    reached = []
    with batch.shared_time():
        clock.now += 5.0
        batch.raise_if_late()
        clock.now += 2.0
        reached.append(batch.late())
        batch.raise_if_late()
        reached.append("more work")
    assert reached == [True], "the body ends there, and that is no error"
    assert batch.seconds == [3.5, batch.settings.timeout + 0.5]


def test_time_counts_when_the_work_fails(subject, clock):
    batch = batch_of(subject, 2)
    with pytest.raises(MemoryError), batch.shared_time():
        clock.now += 1.0
        raise MemoryError
    assert batch.seconds == [0.5, 0.5]


def test_results_are_in_order_and_say_what_was_found(subject):
    batch = batch_of(subject, 2)
    batch.predicted = torch.tensor([0, 2])
    batch.seconds = [1.0, 2.0]
    batch.margin[0], batch.lower_bound[0] = 0.5, 0.25
    batch.decide(1, Verdict.ERROR, "error", "why")
    batch.decide(0, Verdict.VERIFIED, "safe-incomplete")
    first, second = batch.result(0), batch.result(1)
    assert (first.index, first.label, first.predicted, first.seconds) == (10, 0, 0, 1.0)
    assert (first.verdict, first.status, first.margin, first.lower_bound) == ("verified", "safe-incomplete", 0.5, 0.25)
    assert (second.index, second.verdict, second.reason) == (11, "error", "why")
    assert second.margin is None and second.lower_bound is None
