"""Complete verifiers by their names, and specifications other than balls around images."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from image_cases import cases_at

from abcrown_graft.core.check import CoreError
from abcrown_graft.geometry.robustness import Robustness
from abcrown_graft.geometry.specification import Specification
from abcrown_graft.search.bab import SearchSettings
from abcrown_graft.search.optimize import AdamSettings
from abcrown_graft.verify import complete, completion, problem
from abcrown_graft.verify.batches import verify_boxes
from abcrown_graft.verify.case import Case
from abcrown_graft.verify.problem import VerifySettings

SEARCH = SearchSettings(alpha=AdamSettings(0), beta=AdamSettings(2))
HIDDEN = ([[1.0, -1.0], [-1.0, 1.0]], [0.0, 0.0])
"""|x0 - x1| as two kinks."""


def settings(name: str = "bab", **options) -> VerifySettings:
    chosen = {"attack": None, "search": SEARCH, "incomplete": False, "complete_verifier": name, **options}
    return VerifySettings(**chosen)


@pytest.fixture
def kinked(layers_of, subject_of):
    """Class 0 wins by `gap - |x0 - x1|`: exact at the kink's ends, 0.2 apart."""

    def make(gap: float):
        return subject_of(layers_of(HIDDEN, ([[-1.0, -1.0], [0.0, 0.0]], [gap, 0.0])))

    return make


MIDDLE = torch.tensor([[0.5, 0.5]])


def outcome(subject, chosen: VerifySettings, images=MIDDLE, robustness: Robustness | float = 0.1) -> tuple[str, str]:
    return decided(subject, chosen, *cases_at(subject, images, torch.tensor([0]), robustness=robustness))


def decided(subject, chosen: VerifySettings, case: Case) -> tuple[str, str]:
    (found,) = verify_boxes(subject, [case], chosen)
    return str(found.verdict), found.status


class TestNames:
    @pytest.mark.parametrize("gap, verdict", [(0.2001, "verified"), (0.1999, "falsified")])
    @pytest.mark.parametrize("name", ["bab", "mip", "auto"])
    def test_all_agree(self, kinked, name, gap, verdict):
        assert outcome(kinked(gap), settings(name))[0] == verdict

    def test_their_words(self, layers_of, subject_of):
        """relu(u) - 2 relu(u - 0.5), u = 10 x0 - 5 in [-1, 1]: at least 0, and no lines say more than -0.5."""
        subject = subject_of(
            layers_of(([[10.0, 0.0], [10.0, 0.0]], [-5.0, -5.5]), ([[1.0, -2.0], [0.0, 0.0]], [0.01, 0.0]))
        )
        for name, word in {"bab": "safe", "mip": "safe-mip", "auto": "safe-mip", "skip": "unknown"}.items():
            assert outcome(subject, settings(name))[1] == word

    def test_a_tiny_core_is_tried_by_a_program_first(self, kinked, monkeypatch):
        calls, open_still = [], (completion.SearchResult(completion.Verdict.UNKNOWN), "unknown")
        whole = completion.solve_mip
        monkeypatch.setattr(completion, "solve_mip", lambda *args: calls.append(1) or whole(*args))

        def nothing(*_):
            yield from ()
            return open_still

        monkeypatch.setattr(completion, "incomplete_only", nothing)
        outcome(kinked(0.2001), settings("auto"))
        assert calls == [1]
        monkeypatch.setattr(completion, "TINY", 0)
        outcome(kinked(0.2001), settings("auto"))
        assert calls == [1]

    def test_a_program_that_finds_nothing_leaves_it_to_the_search(self, kinked, monkeypatch):
        monkeypatch.setattr(completion, "solve_mip", lambda *_: completion.SearchResult(completion.Verdict.UNKNOWN))
        assert outcome(kinked(0.2001), settings("auto"))[0] == "verified"

    def test_and_the_search_goes_on_with_the_bounds_that_were_tightened_for_it(
        self, layers_of, subject_of, monkeypatch
    ):
        """Of the network of `test_their_words`, which α-CROWN leaves open."""
        hidden, out = ([[10.0, 0.0], [10.0, 0.0]], [-5.0, -5.5]), ([[1.0, -2.0], [0.0, 0.0]], [0.01, 0.0])
        searched, left = [], []
        whole = completion.search_steps

        def watched(core, *rest):
            searched.append(core)
            found = yield from whole(core, *rest)
            left.append(completion.replace(found.core))
            return completion.replace(found, core=left[-1])

        monkeypatch.setattr(completion, "search_steps", watched)
        monkeypatch.setattr(completion, "solve_mip", lambda *_: completion.SearchResult(completion.Verdict.UNKNOWN))
        chosen = settings("auto", search=SearchSettings(alpha=AdamSettings(5), beta=AdamSettings(2)))
        assert outcome(subject_of(layers_of(hidden, out)), chosen) == ("verified", "safe")
        assert len(searched) == 2 and searched[1] is left[0]


class TestSpecifications:
    def test_a_box_that_does_not_hold_the_image(self, kinked):
        """Around (0.9, 0.5) the gap of 0.3 is gone; the image itself is no counterexample of a box elsewhere."""
        lower, upper = torch.tensor([[0.4, 0.4]]).double(), torch.tensor([[0.5, 0.5]]).double()
        for image in (MIDDLE, torch.tensor([[0.9, 0.5]])):
            robustness = Robustness(None, lower=lower, upper=upper)
            assert outcome(kinked(0.3), settings(), image, robustness)[0] == "verified"
            assert outcome(kinked(0.09), settings(), image, robustness)[0] == "falsified"

    def test_a_clause_of_two_literals(self, kinked):
        """Class 0 wins, or x = (0.4, 0.6) is not reached: y1 + offset is positive exactly where it is needed."""
        subject = kinked(0.1)
        (plain,) = cases_at(subject, MIDDLE, torch.tensor([0]))
        (whole,) = plain.specifications
        rows = torch.cat([whole.rows, -whole.rows], dim=2)
        either = Specification(whole.box, rows, torch.tensor([[[0.0, 0.01]]]).double())
        weaker = replace(plain, specifications=(either,))
        assert decided(subject, settings(), plain)[0] == "falsified"
        assert decided(subject, settings(), weaker)[0] == "verified", "y0 > y1 or y1 > y0 - 0.01"
        assert decided(subject, settings(attack=None, incomplete=True), weaker)[0] == "verified"

    @pytest.mark.parametrize("kind, verdict", [("runnerup", "falsified"), ("clean-acc", "verified")])
    def test_kinds(self, kinked, kind, verdict):
        assert outcome(kinked(0.15), settings(), robustness=Robustness(0.1, kind))[0] == verdict


class TestTheCoreIsTested:
    @pytest.fixture
    def wrong(self, monkeypatch):
        """Cores whose literals are off by 0.1."""
        whole = complete.reduce_to_core

        def make(*args):
            core = whole(*args)
            return completion.replace(core, out_constant=core.out_constant + 0.1)

        monkeypatch.setattr(complete, "reduce_to_core", make)

    @pytest.fixture
    def checks(self, monkeypatch) -> list[int]:
        """A list that grows with every check."""
        calls, whole = [], complete.check_core
        monkeypatch.setattr(complete, "check_core", lambda *args: calls.append(1) or whole(*args))
        return calls

    def test_a_good_one_passes(self, kinked):
        assert outcome(kinked(0.2001), settings(test_core=True))[0] == "verified"

    @pytest.mark.parametrize("test_core", [False, True])
    def test_wrong_ones_are_errors(self, kinked, wrong, test_core):
        """All of them: the first one does not make the others right."""
        subject = kinked(0.15)
        cases = cases_at(subject, MIDDLE.repeat(3, 1), torch.zeros(3, dtype=torch.long))
        for found in verify_boxes(subject, cases, settings(test_core=test_core)):
            assert found.verdict == "error" and CoreError.__name__ in found.reason
            assert "differs from its network by 0.1" in found.reason

    @pytest.mark.parametrize("test_core, count", [(False, 1), (True, 3)])
    def test_the_first_one_of_a_network_or_all(self, kinked, checks, test_core, count):
        subject = kinked(0.2001)
        cases = cases_at(subject, MIDDLE.repeat(3, 1), torch.zeros(3, dtype=torch.long))
        for _ in verify_boxes(subject, cases, settings(test_core=test_core)):
            pass
        assert len(checks) == count
        outcome(subject, settings())
        assert len(checks) == count, "nothing more is checked of a network that was checked"


@pytest.mark.parametrize("search, calls", [(SEARCH, ["interval32", "crown64"]), (None, ["interval32", "crown32"])])
def test_crown_runs_once_and_in_float64_where_a_search_follows(layers_of, subject_of, monkeypatch, search, calls):
    """relu(u) - 2 relu(u - 0.5) + 0.01 is left open by CROWN, and its core is made from the bounds that are there."""
    subject = subject_of(
        layers_of(([[10.0, 0.0], [10.0, 0.0]], [-5.0, -5.5]), ([[1.0, -2.0], [0.0, 0.0]], [0.01, 0.0]))
    )
    seen, whole = [], problem.bound_network

    def watched(network, box, method, **options):
        seen.append(f"{method}{8 * box.lower.element_size()}")
        return whole(network, box, method, **options)

    monkeypatch.setattr(problem, "bound_network", watched)
    expected = ("verified", "safe") if search else ("unknown", "unknown")
    assert outcome(subject, settings(incomplete=True, search=search)) == expected
    assert seen == calls
