"""Queries: one box of inputs, and the outputs that are unsafe for it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from abcrown_graft.errors import FileFormatError, UnsupportedError
from abcrown_graft.formats.vnnlib.disjuncts import NormalForm
from abcrown_graft.formats.vnnlib.formula import Atom
from abcrown_graft.formats.vnnlib.rounding import above, below, literal_row

MAX_NUMBERS = 50_000_000  # of all boxes, and of all rows


@dataclass(frozen=True, eq=False)
class Clause:
    """Unsafe outputs: all y with `rows @ y + offsets <= 0`; without rows, all y.

    Attributes:
        rows: `(literals, outputs)`, float64.
        offsets: `(literals,)`, float64.
    """

    rows: np.ndarray
    offsets: np.ndarray

    def contains(self, outputs: np.ndarray) -> bool:
        """Whether the outputs `(outputs,)` are unsafe."""
        return bool((self.rows @ outputs + self.offsets <= 0).all())


@dataclass(frozen=True, eq=False)
class Query:
    """Is there an input in the box with an output in one of the clauses? Only then the property is violated.

    Attributes:
        lower, upper: `(inputs,)`, float64.
        unsafe: at least one clause.
    """

    lower: np.ndarray
    upper: np.ndarray
    unsafe: tuple[Clause, ...]

    def contains(self, inputs: np.ndarray, outputs: np.ndarray) -> bool:
        """Whether the pair is a counterexample."""
        inside = (self.lower <= inputs).all() and (inputs <= self.upper).all()
        return bool(inside) and any(clause.contains(outputs) for clause in self.unsafe)


Interval = tuple[Fraction | None, Fraction | None]
"""Lower and upper bound, None where there is none."""


def make_queries(form: NormalForm, inputs: int, outputs: int) -> list[Query]:
    """The counterexamples that a formula in normal form describes, by their boxes, in the formula's order.

    Boxes are rounded outwards: no input of the formula is lost. Boxes that are empty before that are dropped;
    no query at all means that there is no counterexample.

    Raises:
        FileFormatError: an input without a lower or upper bound, or nothing is said of outputs.
        UnsupportedError: numbers that float64 does not hold, or too many of them.
    """
    common, disjuncts = form
    _check_size(common, disjuncts, outputs)
    base = _tighten({}, common)
    common = [atom for atom in common if not atom.bounds_input]
    literals = _Literals(outputs)
    clauses: dict[frozenset[tuple[int, Interval]], list[Clause]] = {}
    for disjunct in disjuncts:
        box = frozenset(_tighten(base, disjunct).items())
        clauses.setdefault(box, []).append(literals.clause([*common, *disjunct]))
    if len(clauses) * inputs > MAX_NUMBERS:
        raise UnsupportedError(f"{len(clauses)} boxes of {inputs} inputs are too many; split the file")
    boxes = _Boxes(base, inputs)
    found = [(boxes.make(dict(changed)), tuple(unsafe)) for changed, unsafe in clauses.items()]
    return [Query(*box, unsafe) for box, unsafe in found if box is not None]


def _check_size(common: Sequence[Atom], disjuncts: Sequence[tuple[Atom, ...]], outputs: int) -> None:
    shared = sum(not atom.bounds_input for atom in common)
    literals = shared * len(disjuncts) + sum(not atom.bounds_input for disjunct in disjuncts for atom in disjunct)
    if not literals:
        raise FileFormatError("no assertion is about an output; is the file complete?")
    if literals * outputs > MAX_NUMBERS:
        raise UnsupportedError(f"{literals} literals over {outputs} outputs are too many; split the file")


class _Literals:
    """Makes clauses of atoms, each of which may stand in many."""

    def __init__(self, outputs: int) -> None:
        self.outputs = outputs
        self.made: dict[int, tuple[np.ndarray, float]] = {}

    def clause(self, atoms: Iterable[Atom]) -> Clause:
        """All of them that are about outputs."""
        literals = [self._literal(atom) for atom in atoms if not atom.bounds_input]
        rows = np.array([row for row, _ in literals], dtype=np.float64).reshape(-1, self.outputs)
        return Clause(_frozen(rows), _frozen(np.array([offset for _, offset in literals], dtype=np.float64)))

    def _literal(self, atom: Atom) -> tuple[np.ndarray, float]:
        key = id(atom)  # the caller's formula keeps the atom alive
        if key not in self.made:
            factors = {name.number: factor for name, factor in atom.factors.items()}
            self.made[key] = literal_row(factors, atom.constant, self.outputs, atom.line)
        return self.made[key]


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


def _tighten(base: Mapping[int, Interval], atoms: Iterable[Atom]) -> dict[int, Interval]:
    """The intervals that the atoms make smaller than they are in `base`, by input."""
    changed: dict[int, Interval] = {}
    for atom in atoms:
        if not atom.bounds_input:
            continue
        ((name, factor),) = atom.factors.items()
        bound = -atom.constant / factor
        lower, upper = changed.get(name.number) or base.get(name.number, (None, None))
        if factor > 0 and (upper is None or bound < upper):
            changed[name.number] = (lower, bound)
        elif factor < 0 and (lower is None or bound > lower):
            changed[name.number] = (bound, upper)
    return changed


class _Boxes:
    """Makes boxes that differ from a common one in a few inputs."""

    def __init__(self, base: Mapping[int, Interval], inputs: int) -> None:
        self.unbounded = {i for i in range(inputs) if None in base.get(i, (None, None))}
        self.base = base
        self.empty = any(_is_empty(interval) for interval in base.values())
        self.lower, self.upper = np.full(inputs, -math.inf), np.full(inputs, math.inf)
        self._fill(self.lower, self.upper, base)

    def make(self, changed: Mapping[int, Interval]) -> tuple[np.ndarray, np.ndarray] | None:
        """Lower and upper bounds, or None if there is no point between them."""
        for i in sorted(self.unbounded):
            low, high = changed.get(i) or self.base.get(i, (None, None))
            if low is None or high is None:
                raise FileFormatError(
                    f"X_{i} has no {'lower' if low is None else 'upper'} bound; is the file complete?"
                )
        if self.empty or any(_is_empty(interval) for interval in changed.values()):
            return None
        lower, upper = self.lower.copy(), self.upper.copy()
        self._fill(lower, upper, changed)
        if not (np.isfinite(lower).all() and np.isfinite(upper).all()):
            raise UnsupportedError("a bound of an input is too large for float64")
        return _frozen(lower), _frozen(upper)

    @staticmethod
    def _fill(lower: np.ndarray, upper: np.ndarray, intervals: Mapping[int, Interval]) -> None:
        for i, (low, high) in intervals.items():
            if low is not None:
                lower[i] = below(low)
            if high is not None:
                upper[i] = above(high)


def _is_empty(interval: Interval) -> bool:
    low, high = interval
    return low is not None and high is not None and low > high
