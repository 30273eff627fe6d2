"""Whether a pair of input and output is what a file asserts of a counterexample, in exact arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from abcrown_graft.formats.vnnlib.formula import And, Atom, Formula


def satisfies(formula: Formula, inputs: Sequence[float], outputs: Sequence[float]) -> bool:
    """Whether the formula is true of these numbers, as rational numbers: nothing is rounded, nothing tolerated.

    Args:
        formula: see `read.read_formula`.
        inputs, outputs: in row-major order; as many as the formula has. One that is not finite satisfies nothing.
    """
    try:
        values = {"X": [*map(Fraction, inputs)], "Y": [*map(Fraction, outputs)]}
    except (ValueError, OverflowError):  # NaN, infinite
        return False
    return _holds(formula, values)


def _holds(formula: Formula, values: dict[str, list[Fraction]]) -> bool:
    if isinstance(formula, Atom):
        terms = (factor * values[name.kind][name.number] for name, factor in formula.factors.items())
        return sum(terms, formula.constant) <= 0
    judged = (_holds(part, values) for part in formula.parts)
    return all(judged) if isinstance(formula, And) else any(judged)
