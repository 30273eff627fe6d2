"""Benchmarks of VNN-COMP, read without the library: ONNX networks, VNN-LIB properties, agreed verdicts.

Networks become plain torch modules through the `onnx` package alone; `evaluate_onnx` is the independent
judge of them and of counterexamples: onnxruntime where it is installed, else onnx's reference evaluator.
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
from onnx import numpy_helper
from torch import Tensor, nn

from abcrown_graft.bounds.box import Box
from abcrown_graft.network.trace import from_module
from abcrown_graft.specification.specification import Specification
from abcrown_graft.verify.problem import Subject, VerifySettings
from abcrown_graft.verify.run import verify_images
from abcrown_graft.verify.verdict import InstanceResult


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


class Constant(nn.Module):
    """The input plus or minus a constant, or divided by it."""

    def __init__(self, kind: str, value: Tensor) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("value", value)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "Div":
            return x / self.value
        return x - self.value if self.kind == "Sub" else x + self.value


class Sum(nn.Module):
    """Two inputs added: where a residual branch ends."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class OnnxModule(nn.Module):
    """The operators of an ONNX graph, one after the other; the input is a batch `(n, *input_shape)`."""

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        graph = model.graph
        constants = {t.name: _tensor(t) for t in graph.initializer}
        constants |= {n.output[0]: _tensor(n.attribute[0].t) for n in graph.node if n.op_type == "Constant"}
        nodes = [node for node in graph.node if node.op_type != "Constant"]
        self.source, self.target = _declared_input(model)[0], graph.output[0].name
        self.layers = nn.ModuleList(_layer(node, constants) for node in nodes)
        self.wires = [([name for name in n.input if name not in constants], n.output[0]) for n in nodes]

    def forward(self, x: Tensor) -> Tensor:
        values = {self.source: x}
        for layer, (sources, target) in zip(self.layers, self.wires, strict=True):
            values[target] = layer(*(values[name] for name in sources))
        return values[self.target]


def input_shape(model: onnx.ModelProto) -> tuple[int, ...]:
    """Of one input: without the first axis, a batch of one, unless that is all there is."""
    _, shape = _declared_input(model)
    return shape[1:] if len(shape) > 1 else shape


def _declared_input(model: onnx.ModelProto) -> tuple[str, tuple[int, ...]]:
    """Name and shape; old models list their weights among the inputs."""
    constants = {t.name for t in model.graph.initializer}
    (source,) = (i for i in model.graph.input if i.name not in constants)
    return source.name, tuple(d.dim_value for d in source.type.tensor_type.shape.dim)


def _tensor(proto: onnx.TensorProto) -> Tensor:
    return torch.tensor(numpy_helper.to_array(proto))


def _layer(node: onnx.NodeProto, constants: dict[str, Tensor]) -> nn.Module:
    options = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    fixed = {position: constants[name] for position, name in enumerate(node.input) if name in constants}
    layer = LAYERS[node.op_type](options, fixed) if node.op_type in LAYERS else None
    if layer is None:
        raise ValueError(f"not supported: {node.op_type} {options} with constants at {list(fixed)}")
    return layer


Options = dict[str, Any]
Fixed = dict[int, Tensor]
"""An operator's constant operands by their positions."""


def _loaded(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    layer.load_state_dict({"weight": weight} if bias is None else {"weight": weight, "bias": bias})
    return layer


def _linear_layer(weight: Tensor, bias: Tensor | None) -> nn.Module:
    return _loaded(nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None), weight, bias)


def _gemm(options: Options, fixed: Fixed) -> nn.Module | None:
    if options.get("transA", 0) or 0 in fixed or 1 not in fixed:
        return None
    weight = fixed[1] if options.get("transB", 0) else fixed[1].T
    bias = options.get("beta", 1.0) * fixed[2] if 2 in fixed else None
    return _linear_layer(options.get("alpha", 1.0) * weight, bias)


def _matmul(options: Options, fixed: Fixed) -> nn.Module | None:
    """W x of a vector, or x W of a row."""
    return _linear_layer(fixed[0] if 0 in fixed else fixed[1].T, None) if len(fixed) == 1 else None


def _conv(options: Options, fixed: Fixed) -> nn.Module | None:
    pads, weight = tuple(options.get("pads", (0, 0, 0, 0))), fixed.get(1)
    if weight is None or weight.dim() != 4 or "auto_pad" in options or pads[:2] != pads[2:]:
        return None
    stride, dilation = (tuple(options.get(name, (1, 1))) for name in ("strides", "dilations"))
    group, bias = options.get("group", 1), fixed.get(2)
    outputs, inputs, *kernel = weight.shape
    layer = nn.Conv2d(inputs * group, outputs, kernel, stride, pads[:2], dilation, group, bias=bias is not None)
    return _loaded(layer, weight, bias)


def _constant(kind: str) -> Callable[[Options, Fixed], nn.Module | None]:
    return lambda options, fixed: Constant(kind, fixed[1]) if list(fixed) == [1] else None


def _add(options: Options, fixed: Fixed) -> nn.Module | None:
    return Constant("Add", *fixed.values()) if fixed else Sum()


LAYERS: dict[str, Callable[[Options, Fixed], nn.Module | None]] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Conv": _conv,
    "Add": _add,
    "Sub": _constant("Sub"),
    "Div": _constant("Div"),
    "Relu": lambda options, fixed: nn.ReLU(),
    "Flatten": lambda options, fixed: nn.Flatten() if options.get("axis", 1) == 1 else None,
}


def evaluate_onnx(model: onnx.ModelProto, points: np.ndarray) -> np.ndarray:
    """Outputs `(n, outputs)` at points `(n, *input_shape)`, one by one as the model's own shapes want it."""
    source, shape = _declared_input(model)
    fed = points.astype(np.float32).reshape(len(points), *shape)
    run = _evaluator(model)
    return np.stack([run({source: point}).ravel() for point in fed])


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
    model = onnx.load(instance.network)
    shape, module = input_shape(model), OnnxModule(model)
    wanted = read_property(instance.property).specification(shape)
    subject = Subject.prepare(module, from_module(module.double(), shape), "cpu", settings.double)
    subject.module.float()
    centre = ((wanted.box.lower + wanted.box.upper) / 2).float()
    found: dict[int, Tensor] = {}
    (result,) = verify_images(
        subject, centre, torch.tensor([0]), [0], settings, None, found.__setitem__, lambda *_: wanted
    )
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
