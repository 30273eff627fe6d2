"""Instances whose inputs are split, through the complete stage."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from image_cases import cases_at

from abcrown_graft.search import box_task, turns
from abcrown_graft.search.bab import SearchResult, SearchSettings
from abcrown_graft.search.input_split import InputSplit
from abcrown_graft.search.optimize import AdamSettings
from abcrown_graft.verdict import Verdict
from abcrown_graft.verify import complete, completion
from abcrown_graft.verify.batches import verify_boxes
from abcrown_graft.verify.complete import decide_open
from abcrown_graft.verify.problem import Batch, Subject, VerifySettings

SEARCH = SearchSettings(64, alpha=AdamSettings(10, 0.1, 0.05), beta=AdamSettings(5, 0.05, 0.1))
ALONE = InputSplit(2, alone=True)
MIDDLE = torch.tensor([[0.5, 0.5]])


def settings(split: InputSplit | None = ALONE, **options) -> VerifySettings:
    return VerifySettings(**{"attack": None, "search": SEARCH, "incomplete": False, **options}, input_split=split)


def decided(subject: Subject, chosen: VerifySettings) -> Batch:
    batch = Batch(subject, chosen, cases_at(subject, MIDDLE, torch.tensor([0]), [10]))
    assert list(decide_open(batch, [0])) == [0]
    return batch


def status(batch: Batch) -> tuple[str, str]:
    result = batch.result(0)
    return str(result.verdict), result.status


@pytest.fixture
def kinked(layers_of, subject_of):
    """Class 0 leads by relu(a) - a / 2 + height, a = x₀ - 0.5: positive, if height is, but not for CROWN."""

    def make(height: float) -> Subject:
        hidden = ([[1.0, 0.0], [1.0, 0.0]], [-0.5, 1.0])
        return subject_of(layers_of(hidden, ([[1.0, -0.5], [0.0, 0.0]], [0.75 + height, 0.0])))

    return make


@pytest.fixture
def diagonal(layers_of, subject_of) -> Subject:
    """The same kink along a diagonal: one split of a neuron proves it, or a thousand boxes."""
    hidden = ([[1.0, 1.0], [1.0, 1.0]], [-1.0, 1.0])
    return subject_of(layers_of(hidden, ([[1.0, -0.5], [0.0, 0.0]], [1.0 + 1e-4, 0.0])))


@pytest.fixture
def no_core(monkeypatch):
    monkeypatch.setattr(complete, "reduce_to_core", lambda *_: pytest.fail("neurons are split"))


class TestStatuses:
    def test_proved(self, kinked, no_core):
        batch = decided(kinked(0.001), settings())
        assert status(batch) == ("verified", "safe") and batch.result(0).lower_bound == 0.0

    def test_proved_at_the_root(self, kinked, no_core):
        assert status(decided(kinked(0.2), settings())) == ("verified", "safe-incomplete")

    @pytest.mark.parametrize("split", [ALONE, InputSplit(2)])
    def test_refuted(self, kinked, no_core, split):
        batch = decided(kinked(-0.001), settings(split))
        assert status(batch) == ("falsified", "unsafe-bab")
        assert float(batch.subject.module(batch.counterexamples[0].unsqueeze(0)).diff(dim=1)) >= 0

    def test_out_of_domains(self, kinked, no_core):
        batch = decided(kinked(0.001), settings(search=replace(SEARCH, max_domains=0)))
        assert status(batch) == ("unknown", "unknown") and batch.result(0).lower_bound < 0

    def test_out_of_time_on_the_way(self, diagonal, no_core, monkeypatch):
        monkeypatch.setattr(complete, "Budget", Hurried)
        batch = decided(diagonal, settings())
        assert status(batch) == ("timeout", "timeout") and batch.result(0).lower_bound < 0

    def test_a_crash_is_an_error(self, kinked, monkeypatch):
        def broken(*_, **__):
            raise RuntimeError("no bounds")

        monkeypatch.setattr(box_task, "bound_network", broken)
        batch = decided(kinked(0.001), settings(InputSplit(2)))
        assert status(batch) == ("error", "error") and batch.result(0).reason == "RuntimeError: no bounds"


class Hurried(complete.Budget):
    """Its time is over at the tenth look, which is within the search."""

    looks = 10

    def late(self) -> bool:
        self.looks -= 1
        return self.looks < 0


class TestWhatIsSplit:
    @pytest.mark.parametrize("split", [None, InputSplit(1), InputSplit(0)])
    def test_neurons_where_there_are_more_inputs(self, kinked, monkeypatch, split):
        monkeypatch.setattr(complete, "input_split_steps", lambda *_: pytest.fail("inputs are split"))
        assert status(decided(kinked(0.001), settings(split))) in (
            ("verified", "safe"),
            ("verified", "safe-incomplete"),
        )

    @pytest.mark.parametrize("verifier", ["skip", "mip"])
    def test_nothing_where_another_method_is_asked_for(self, kinked, monkeypatch, verifier):
        monkeypatch.setattr(complete, "input_split_steps", lambda *_: pytest.fail("inputs are split"))
        assert status(decided(kinked(0.2), settings(complete_verifier=verifier))) == ("verified", "safe-incomplete")

    @pytest.mark.parametrize("verifier", ["bab", "auto"])
    def test_neurons_too_where_inputs_do_not_decide(self, kinked, monkeypatch, verifier):
        def undecided(*_):
            yield from ()
            return SearchResult(Verdict.UNKNOWN, 9, -0.5)

        monkeypatch.setattr(complete, "input_split_steps", undecided)
        monkeypatch.setattr(completion, "solve_mip", lambda *_: pytest.fail("branch and bound takes turns, no program"))
        chosen = settings(InputSplit(2), complete_verifier=verifier)
        assert str(decided(kinked(0.001), chosen).result(0).verdict) == "verified"
        chosen = replace(chosen, input_split=ALONE)
        assert status(decided(kinked(0.001), chosen)) == ("unknown", "unknown")

    def test_they_take_turns_where_it_takes_long(self, diagonal, monkeypatch):
        monkeypatch.setattr(turns, "HEAD_START", 0.0)
        searched, whole = [], completion.search_steps
        monkeypatch.setattr(completion, "search_steps", lambda *given: searched.append(given) or whole(*given))
        assert status(decided(diagonal, settings(InputSplit(2))))[0] == "verified"
        assert len(searched) == 1


def test_side_by_side_verdicts_are_those_of_one_by_one(kinked):
    images = torch.cat([MIDDLE + 0.03 * k for k in range(-4, 5)])
    for height, verdicts in ((0.001, {"verified"}), (-0.001, {"verified", "falsified"})):
        subject = kinked(height)
        cases = cases_at(subject, images, torch.zeros(9).long())
        found = [
            {r.index: (str(r.verdict), r.status) for r in verify_boxes(subject, cases, settings(search_together=count))}
            for count in (1, 4, 9)
        ]
        assert found[0] == found[1] == found[2]
        assert {verdict for verdict, _ in found[0].values()} == verdicts
