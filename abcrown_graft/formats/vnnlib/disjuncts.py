"""Disjunctive normal form, with a limit to its size."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.formats.vnnlib.formula import And, Atom, Formula

MAX_DISJUNCTS = 100_000
MAX_LITERALS = 1_000_000


class NormalForm(NamedTuple):
    """`all of common, and all of at least one of disjuncts`."""

    common: list[Atom]
    disjuncts: list[tuple[Atom, ...]]


def normal_form(formula: Formula) -> NormalForm:
    """The formula in disjunctive normal form; what every disjunct would repeat is kept apart.

    Raises:
        UnsupportedError: it would have more than `MAX_DISJUNCTS` disjuncts or `MAX_LITERALS` literals.
    """
    parts = _conjuncts(formula)
    rest = And(tuple(part for part in parts if not isinstance(part, Atom)))
    disjuncts, literals = _size(rest)
    if disjuncts > MAX_DISJUNCTS or literals > MAX_LITERALS:
        limits = f"more than {MAX_DISJUNCTS} or {MAX_LITERALS}"
        raise UnsupportedError(
            f"in disjunctive normal form the assertions have {_rounded(disjuncts)} disjuncts "
            f"with {_rounded(literals)} literals, {limits}; split the file"
        )
    return NormalForm([part for part in parts if isinstance(part, Atom)], _disjuncts(rest))


def _rounded(count: int) -> str:
    """A number that may be too long to be read."""
    return str(count) if count < 10**12 else f"about 10^{int(count.bit_length() * math.log10(2))}"


def _conjuncts(formula: Formula) -> list[Formula]:
    """The parts of nested conjunctions."""
    if isinstance(formula, And):
        return [inner for part in formula.parts for inner in _conjuncts(part)]
    return [formula]


def _size(formula: Formula) -> tuple[int, int]:
    """How many disjuncts it has in normal form, and how many literals these have together."""
    if isinstance(formula, Atom):
        return 1, 1
    sizes = [_size(part) for part in formula.parts]
    if not isinstance(formula, And):
        return sum(count for count, _ in sizes), sum(literals for _, literals in sizes)
    total, literals = 1, 0
    for count, inside in sizes:
        total, literals = total * count, literals * count + inside * total
    return total, literals


def _disjuncts(formula: Formula) -> list[tuple[Atom, ...]]:
    if isinstance(formula, Atom):
        return [(formula,)]
    inner = [_disjuncts(part) for part in formula.parts]
    if not isinstance(formula, And):
        return list(itertools.chain.from_iterable(inner))
    return [tuple(itertools.chain.from_iterable(choice)) for choice in itertools.product(*inner)]
