"""The grafted activation in the linear and mixed-integer programs of α,β-CROWN's `mip`, `bab-refine` and LP modes.

A grafted neuron is one linear equation, exact in every kind of program. The others are ReLUs: a stable one needs no
variable; an unstable one gets the big-M formulation of Tjeng et al., "Evaluating Robustness of Neural Networks with
Mixed Integer Programming", ICLR 2019, eq. 6, or its triangle relaxation (Ehlers, ATVA 2017). Variables of unstable
ReLUs have the names by which α,β-CROWN looks them up; those of grafted neurons have none that it knows, so it never
fixes, splits or tightens them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from abcrown_graft.errors import UnsupportedError

MODEL_TYPES = ("mip", "lp_integer", "lp")


class ActivationNode(Protocol):
    """What is read and set of α,β-CROWN's node of a grafted activation, see `operator.BoundGraftedRelu`."""

    name: str
    inputs: Sequence[Any]
    mask: Tensor
    slope: Tensor
    intercept: Tensor
    solver_vars: list[Any]
    solver_constrs: list[Any]
    integer_vars: list[Any]


@dataclass(frozen=True)
class _Program:
    """A program under construction, as α,β-CROWN's other operators see it.

    Attributes:
        model: the solver's model.
        kind: one of `MODEL_TYPES`; `lp_integer` is `mip` with its binary variables relaxed to [0, 1].
        binaries, constraints: added so far for this activation.
    """

    model: Any
    kind: str
    binaries: list[Any] = field(default_factory=list)
    constraints: list[Any] = field(default_factory=list)

    def add(self, constraint: Any, name: str) -> None:
        self.constraints.append(self.model.addConstr(constraint, name=name))

    def variable(self, name: str, lower: float, upper: float) -> Any:
        return self.model.addVar(lb=lower, ub=upper, obj=0, vtype="C", name=name)

    def binary(self, name: str) -> Any:
        relaxed = self.kind == "lp_integer"
        self.binaries.append(self.model.addVar(lb=0, ub=1, obj=0, vtype="C" if relaxed else "B", name=name))
        return self.binaries[-1]


def encode_activation(node: ActivationNode, inputs: Any, model: Any, kind: str) -> None:
    """Adds an activation to a program and sets the attributes of the node that α,β-CROWN reads.

    Args:
        node: with bounds on its input; the program must hold for every element of their batch.
        inputs: variables of the pre-activations, nested lists of the neurons' shape.
        model: with a variable `zero`.
        kind: one of `MODEL_TYPES`.

    Raises:
        UnsupportedError: another kind of program.
    """
    if kind not in MODEL_TYPES:
        raise UnsupportedError(f"solver.mip.formulation: {kind!r} is not implemented for grafted networks; use mip")
    z = np.empty(node.mask.shape, dtype=object)
    z[...] = np.array(inputs, dtype=object)
    program = _Program(model, kind)
    lower, upper = node.inputs[0].lower.amin(0), node.inputs[0].upper.amax(0)
    columns = (tensor.detach().flatten().tolist() for tensor in (lower, upper, node.mask, node.slope, node.intercept))
    outputs = np.empty(z.size, dtype=object)
    for index, (pre, low, high, linear, slope, intercept) in enumerate(zip(z.flat, *columns, strict=True)):
        name = f"{node.name}_{index}"
        outputs[index] = _line(program, name, pre, slope, intercept) if linear else _relu(program, name, pre, low, high)
    node.solver_vars = outputs.reshape(z.shape).tolist()
    node.solver_constrs = program.constraints
    if kind != "lp":
        node.integer_vars = program.binaries
    model.update()


def _line(program: _Program, name: str, z: Any, slope: float, intercept: float) -> Any:
    """A free variable `y = slope * z + intercept`."""
    y = program.variable(f"Grafted{name}", -float("inf"), float("inf"))
    program.add(y == slope * z + intercept, f"Grafted{name}_line")
    return y


def _relu(program: _Program, name: str, z: Any, lower: float, upper: float) -> Any:
    """`max(z, 0)` for z in [lower, upper]: exact, or relaxed in a linear program."""
    if lower >= 0:
        return z
    if upper <= 0:
        return program.model.getVarByName("zero")
    y = program.variable(f"ReLU{name}", 0, upper)
    if program.kind == "lp":
        program.add(y >= z, f"ReLU{name}_a_0")
        program.add(upper * z - (upper - lower) * y >= upper * lower, f"ReLU{name}_a_1")
        return y
    active = program.binary(f"aReLU{name}")
    program.add(y <= z - lower * (1 - active), f"ReLU{name}_a_0")
    program.add(y >= z, f"ReLU{name}_a_1")
    program.add(y <= upper * active, f"ReLU{name}_a_2")
    return y
