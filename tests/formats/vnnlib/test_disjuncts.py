from __future__ import annotations

import pytest

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.formats.vnnlib import disjuncts
from abcrown_graft.formats.vnnlib.disjuncts import normal_form
from abcrown_graft.formats.vnnlib.formula import And, Atom, Or, Variable

A, B, C, D, E = (Atom({Variable("Y", j): 1}, 0, line=j) for j in range(5))


def test_what_all_disjuncts_share_is_kept_apart():
    assert normal_form(And((A, And((B, Or((C, D))))))) == ([A, B], [(C,), (D,)])


def test_conjunctions_of_disjunctions_are_multiplied_out_in_order():
    assert normal_form(And((Or((A, B)), Or((C, And((D, E))))))) == ([], [(A, C), (A, D, E), (B, C), (B, D, E)])


def test_a_disjunction_inside_a_conjunction_inside_a_disjunction():
    assert normal_form(Or((A, And((B, Or((C, D))))))).disjuncts == [(A,), (B, C), (B, D)]


def test_a_conjunction_alone_is_one_disjunct_with_nothing_of_its_own():
    assert normal_form(And((A, B))) == ([A, B], [()])
    assert normal_form(A) == ([A], [()])


@pytest.mark.parametrize(
    ("pairs", "words"), [(17, "131072 disjuncts with 2228224 literals"), (20_000, "about 10\\^602[01]")]
)
def test_an_explosion_is_refused_before_it_happens(pairs, words):
    with pytest.raises(UnsupportedError, match=f"in disjunctive normal form the assertions have {words}"):
        normal_form(And((Or((A, B)),) * pairs))


def test_few_disjuncts_with_too_many_literals_are_refused(monkeypatch):
    formula = And((Or((And((A, B, C)), D)), Or((E, A))))
    assert sum(map(len, normal_form(formula).disjuncts)) == 12
    monkeypatch.setattr(disjuncts, "MAX_LITERALS", 11)
    with pytest.raises(UnsupportedError, match="4 disjuncts with 12 literals"):
        normal_form(formula)
    monkeypatch.setattr(disjuncts, "MAX_LITERALS", 12)
    assert len(normal_form(formula).disjuncts) == 4
