"""Properties that every network has, or none: most likely not what their author meant.

All of it is decided in exact arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from abcrown_graft.formats.vnnlib.disjuncts import NormalForm
from abcrown_graft.formats.vnnlib.elimination import Row, contradiction, opposite, row
from abcrown_graft.formats.vnnlib.formula import Atom, Variable

Bound = tuple[Variable, bool, Fraction]
"""An input, whether it is bounded from above, and minus by what."""


class Remark(NamedTuple):
    """What is remarkable of a property.

    Attributes:
        line: that it is about.
        text: in words.
        holds: whether every network has the property; otherwise none has it.
    """

    line: int
    text: str
    holds: bool


def remark_on(form: NormalForm, reachable: bool) -> Remark | None:
    """Why every network has the property, or none; None if that is not so, or is not seen by elimination.

    Args:
        form: the counterexamples.
        reachable: whether some disjunct's box of inputs has a point.
    """
    common = _by_variable(form.common)
    shared = [row(atom) for atom in form.common if not atom.bounds_input]
    first = None if reachable else _empty(common.values())
    if first is None:
        first = contradiction(shared)
    if first is not None:
        return _contradictory(first)
    for disjunct in form.disjuncts:
        lines = _impossible(common, shared, disjunct)
        if lines is None:
            return None if shared else _violated(common, form.disjuncts)
        first = first or lines
    return None if first is None else _contradictory(first, len(form.disjuncts))


def _by_variable(atoms: Iterable[Atom]) -> dict[Variable, list[Atom]]:
    """The bounds of each input."""
    found: dict[Variable, list[Atom]] = {}
    for atom in atoms:
        if atom.bounds_input:
            found.setdefault(next(iter(atom.factors)), []).append(atom)
    return found


def _empty(intervals: Iterable[Iterable[Atom]]) -> frozenset[int] | None:
    """Lines of the bounds that leave an input no value."""
    return next((lines for atoms in intervals if (lines := contradiction(map(row, atoms))) is not None), None)


def _impossible(
    common: Mapping[Variable, list[Atom]], shared: list[Row], disjunct: Sequence[Atom]
) -> frozenset[int] | None:
    """Lines by which no input, or no output, satisfies a disjunct together with what is common to all."""
    lines = _empty([*common.get(name, ()), *own] for name, own in _by_variable(disjunct).items())
    outputs = [row(atom) for atom in disjunct if not atom.bounds_input]
    return contradiction([*shared, *outputs]) if lines is None and outputs else lines


def _violated(common: Mapping[Variable, list[Atom]], disjuncts: Sequence[Sequence[Atom]]) -> Remark | None:
    """The remark that in some box every output is unsafe: by one disjunct, or by several of a single literal."""
    singles: list[tuple[Sequence[Atom], Atom]] = []
    for disjunct in disjuncts:
        outputs = [atom for atom in disjunct if not atom.bounds_input]
        if not outputs and _impossible(common, [], disjunct) is None:
            return _universal(frozenset(atom.line for atom in disjunct))
        if len(outputs) == 1:
            singles.append((disjunct, outputs[0]))
    if contradiction(opposite(output) for _, output in singles) is None:
        return None  # so much the less do those of one box leave no output over
    boxes: dict[frozenset[Bound], list[Row]] = {}
    for disjunct, output in singles:
        if _impossible(common, [], disjunct) is None:
            boxes.setdefault(frozenset(map(_bound, _bounds(disjunct))), []).append(opposite(output))
    lines = next((lines for rows in boxes.values() if (lines := contradiction(rows)) is not None), None)
    return None if lines is None else _universal(lines)


def _bounds(disjunct: Sequence[Atom]) -> list[Atom]:
    return [atom for atom in disjunct if atom.bounds_input]


def _bound(atom: Atom) -> Bound:
    ((name, factor),) = atom.factors.items()
    return name, factor > 0, atom.constant / factor


def _contradictory(lines: frozenset[int], disjuncts: int = 1) -> Remark:
    each = "" if disjuncts == 1 else f"each of {disjuncts} disjuncts is contradictory, the first because "
    which = f"{_listed(lines)} contradict each other" if len(lines) > 1 else f"{_listed(lines)} contradicts itself"
    consequence = "there is no counterexample, and every network has the property (unsat)"
    return Remark(max(lines), f"{each}{which}: {consequence}", True)


def _universal(lines: frozenset[int]) -> Remark:
    which = f"{_listed(lines)} {'allow' if len(lines) > 1 else 'allows'} every output"
    consequence = "every input of the box is a counterexample, and no network has the property (sat)"
    return Remark(max(lines), f"{which}: {consequence}", False)


def _listed(lines: frozenset[int]) -> str:
    *some, last = map(str, sorted(lines))
    return f"lines {', '.join(some)} and {last}" if some else f"line {last}"
