"""Benchmarks of VNN-COMP: networks, VNN-LIB properties read without the library, agreed verdicts.

`evaluate_onnx` is the independent judge of counterexamples: onnxruntime where it is installed, else onnx's
reference evaluator.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from network_module import NetworkModule
from torch import Tensor

from abcrown_graft.formats.onnx.reader import read_onnx
from abcrown_graft.geometry.box import Box
from abcrown_graft.geometry.specification import Specification
from abcrown_graft.verdict import InstanceResult
from abcrown_graft.verify.case import Case
from abcrown_graft.verify.cases import verify_cases
from abcrown_graft.verify.problem import Subject, VerifySettings


@dataclass(frozen=True)
class Instance:
    """One line of a benchmark's `expected.csv`; `expected` is "sat", "unsat", or that nobody is sure."""

    network: Path
    property: Path
    expected: str

    def __str__(self) -> str:
        return f"{self.network.stem}-{self.property.name.removesuffix('.vnnlib.gz')}"


def read_instances(benchmark: Path) -> list[Instance]:
    """The instances of a benchmark's folder, in its order."""
    with (benchmark / "expected.csv").open(newline="") as file:
        return [Instance(benchmark / r["onnx"], benchmark / r["vnnlib"], r["expected"]) for r in csv.DictReader(file)]


# --- properties -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Property:
    """A box of inputs, `(inputs,)`, and unsafe outputs in disjunctive normal form.

    Each disjunct is a list of (row over the outputs, offset), all of which are at most zero where it is true.
    """

    lower: np.ndarray
    upper: np.ndarray
    unsafe: list[list[tuple[np.ndarray, float]]]

    def excess(self, output: np.ndarray) -> float:
        """At most zero if the output is unsafe."""
        return min(max(float(row @ output) + offset for row, offset in disjunct) for disjunct in self.unsafe)

    def specification(self, input_shape: Sequence[int]) -> Specification:
        """The same for the engine, a batch of one; short disjuncts repeat their last literal."""
        longest = max(map(len, self.unsafe))
        clauses = [[*disjunct, *[disjunct[-1]] * (longest - len(disjunct))] for disjunct in self.unsafe]
        rows = torch.tensor(np.array([[row for row, _ in clause] for clause in clauses]))
        offsets = torch.tensor([[offset for _, offset in clause] for clause in clauses], dtype=torch.float64)
        lower, upper = (torch.tensor(b).view(1, *input_shape) for b in (self.lower, self.upper))
        return Specification(Box(lower, upper), rows.unsqueeze(0), offsets.unsqueeze(0))


def read_property(path: Path) -> Property:
    """Reads a `.vnnlib.gz` whose disjuncts share one box of inputs."""
    return parse_property(gzip.decompress(path.read_bytes()).decode())


def parse_property(text: str) -> Property:
    """Reads VNN-LIB: `assert`s of and, or, <= and >= over X_i, Y_j and numbers; X_i only against a number.

    Raises:
        ValueError: another construct, an input that is not bounded, or disjuncts with different boxes.
    """
    expressions = list(_expressions(iter(re.findall(r"[()]|[^\s()]+", re.sub(r";.*", "", text)))))
    declared = [e[1] for e in expressions if e[0] == "declare-const"]
    inputs, outputs = (sum(name.startswith(kind) for name in declared) for kind in "XY")
    asserted = _disjuncts(["and", *(e[1] for e in expressions if e[0] == "assert")])
    boxes = [_box([atom for atom in disjunct if atom.kind == "X"], inputs) for disjunct in asserted]
    if any((box != boxes[0]).any() for box in boxes):
        raise ValueError("the disjuncts have different boxes")
    unsafe = [[atom.row(outputs) for atom in disjunct if atom.kind == "Y"] for disjunct in asserted]
    return Property(boxes[0][0], boxes[0][1], unsafe)


@dataclass(frozen=True)
class _Atom:
    """`sum of factor · variable + constant <= 0`; `kind` says whether of inputs X or outputs Y."""

    kind: str
    factors: dict[int, float]
    constant: float

    def row(self, size: int) -> tuple[np.ndarray, float]:
        row = np.zeros(size)
        for position, factor in self.factors.items():
            row[position] = factor
        return row, self.constant


def _expressions(tokens: Iterator[str]) -> Iterator[Any]:
    """Nested lists of words, up to the closing bracket."""
    for token in tokens:
        if token == ")":
            return
        yield list(_expressions(tokens)) if token == "(" else token


def _disjuncts(expression: list[Any]) -> list[list[_Atom]]:
    """An expression in disjunctive normal form."""
    kind, *arguments = expression
    if kind == "or":
        return [disjunct for argument in arguments for disjunct in _disjuncts(argument)]
    if kind == "and":
        choices = itertools.product(*map(_disjuncts, arguments))
        return [[atom for disjunct in choice for atom in disjunct] for choice in choices]
    if kind in ("<=", ">="):
        left, right = arguments if kind == "<=" else reversed(arguments)
        return [[_atom(left, right)]]
    raise ValueError(f"not supported: {expression}")


def _atom(left: Any, right: Any) -> _Atom:
    """`left <= right`, each a variable or a number; sums are not read."""
    kinds: set[str] = set()
    factors: dict[int, float] = {}
    constant = 0.0
    for term, sign in ((left, 1.0), (right, -1.0)):
        if not isinstance(term, str):
            raise ValueError(f"not supported: {term}")
        if term[:2] in ("X_", "Y_"):
            kinds.add(term[0])
            factors[int(term[2:])] = factors.get(int(term[2:]), 0.0) + sign
        else:
            constant += sign * float(term)
    if kinds not in ({"X"}, {"Y"}) or ("X" in kinds and len(factors) > 1):
        raise ValueError(f"not supported: {left} <= {right}")
    return _Atom(kinds.pop(), factors, constant)


def _box(bounds: list[_Atom], inputs: int) -> np.ndarray:
    """`(2, inputs)`: x + c <= 0 is an upper bound, -x + c <= 0 a lower one."""
    lower, upper = [-math.inf] * inputs, [math.inf] * inputs
    for atom in bounds:
        ((i, factor),) = atom.factors.items()
        if factor > 0:
            upper[i] = min(upper[i], -atom.constant)
        else:
            lower[i] = max(lower[i], atom.constant)
    box = np.array([lower, upper])
    if not np.isfinite(box).all():
        raise ValueError("an input is not bounded")
    return box


# --- networks ---------------------------------------------------------------------------------------------------


def evaluate_onnx(model: onnx.ModelProto, points: np.ndarray) -> np.ndarray:
    """Outputs `(n, outputs)` at points `(n, *input_shape)`, one by one as the model's own shapes want it."""
    source, shape = _declared_input(model)
    fed = points.astype(np.float32).reshape(len(points), *shape)
    run = _evaluator(model)
    return np.stack([run({source: point}).ravel() for point in fed])


def _declared_input(model: onnx.ModelProto) -> tuple[str, tuple[int, ...]]:
    """Name and shape; old models list their weights among the inputs."""
    constants = {t.name for t in model.graph.initializer}
    (source,) = (i for i in model.graph.input if i.name not in constants)
    return source.name, tuple(d.dim_value for d in source.type.tensor_type.shape.dim)


def _evaluator(model: onnx.ModelProto) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        reference = ReferenceEvaluator(model)
        return lambda feed: np.asarray(reference.run(None, feed)[0])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda feed: session.run(None, feed)[0]


# --- verdicts ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the engine says of an instance, and the counterexample it gives, `(inputs,)`."""

    instance: Instance
    result: InstanceResult
    counterexample: np.ndarray | None

    @property
    def contradicts(self) -> bool:
        """Whether the agreed verdict is the opposite."""
        opposite = {"sat": "verified", "unsat": "falsified"}.get(self.instance.expected)
        return self.result.verdict == opposite


def verify_instance(instance: Instance, settings: VerifySettings) -> Outcome:
    """Runs the engine as it is used, on the instance's own property."""
    network = read_onnx(instance.network).network
    wanted = read_property(instance.property).specification(network.input.shape)
    subject = Subject.prepare(NetworkModule(network), network, "cpu", settings.double)
    subject.module.float()
    found: dict[int, Tensor] = {}
    (result,) = verify_cases(subject, [Case(0, (wanted,))], settings, None, found.__setitem__)
    return Outcome(instance, result, found[0].flatten().double().numpy() if found else None)


def counterexample_faults(outcome: Outcome, tolerance: float = 1e-5) -> list[str]:
    """What is wrong with a counterexample as the property and the ONNX model see it; nothing if it is one.

    The tolerance, absolute, is for the order of float32 sums, in which evaluators differ.
    """
    if outcome.counterexample is None:
        return ["there is none"]
    wanted, point = read_property(outcome.instance.property), outcome.counterexample
    faults = []
    if not ((point >= wanted.lower) & (point <= wanted.upper)).all():
        faults.append("outside the box")
    excess = wanted.excess(evaluate_onnx(onnx.load(outcome.instance.network), point[None])[0].astype(np.float64))
    if excess > tolerance:
        faults.append(f"its output is safe by {excess:.3g}")
    return faults
