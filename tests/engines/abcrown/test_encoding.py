"""The grafted activation in programs, without auto_LiRPA: solved over boxes and compared with the function itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gurobipy
import pytest
import torch

from abcrown_graft.engines.abcrown.encoding import MODEL_TYPES, encode_activation
from abcrown_graft.errors import UnsupportedError

LOWER = torch.tensor([[-1.0, -1.0, 0.5, -2.0], [-1.0, -2.0, 0.25, -2.0]])  # two boxes; the program holds for both
UPPER = torch.tensor([[2.0, 2.0, 1.0, -1.0], [1.5, 1.0, 1.0, -0.5]])
MASK = torch.tensor([[True, False], [False, False]])


@pytest.fixture
def environment() -> Any:
    with gurobipy.Env(params={"OutputFlag": 0}) as env:
        yield env


def node(shape: tuple[int, ...] = (2, 2)) -> SimpleNamespace:
    """Four neurons: a falling line, an unstable ReLU, an active and an inactive one."""
    bounds = SimpleNamespace(lower=LOWER.reshape(-1, *shape), upper=UPPER.reshape(-1, *shape))
    lines = {"slope": torch.full(shape, -0.5), "intercept": torch.full(shape, 0.25)}
    return SimpleNamespace(name="/act", inputs=[bounds], mask=MASK.reshape(shape), **lines)


def program(environment: Any, kind: str, activation: SimpleNamespace) -> tuple[Any, list[Any]]:
    """A model with the four pre-activations in the hull of their boxes."""
    model = gurobipy.Model(env=environment)
    model.addVar(lb=0, ub=0, name="zero")
    ends = zip(LOWER.amin(0).tolist(), UPPER.amax(0).tolist(), strict=True)
    z = [model.addVar(lb=low, ub=high, name=f"z{k}") for k, (low, high) in enumerate(ends)]
    model.update()
    encode_activation(activation, [z[:2], z[2:]], model, kind)
    return model, z


def extreme(model: Any, expression: Any, sense: int) -> float:
    model.setObjective(expression, sense)
    model.optimize()
    return model.ObjVal


def test_a_grafted_neuron_is_its_line_in_every_program(environment: Any) -> None:
    for kind in MODEL_TYPES:
        activation = node()
        model, z = program(environment, kind, activation)
        y = activation.solver_vars[0][0]
        for sense in (gurobipy.GRB.MINIMIZE, gurobipy.GRB.MAXIMIZE):
            assert extreme(model, y - (0.25 - 0.5 * z[0]), sense) == pytest.approx(0, abs=1e-6), kind
        assert extreme(model, y, gurobipy.GRB.MINIMIZE) == pytest.approx(-0.75)
        assert extreme(model, y, gurobipy.GRB.MAXIMIZE) == pytest.approx(0.75)


@pytest.mark.parametrize("kind", MODEL_TYPES)
def test_an_unstable_relu(environment: Any, kind: str) -> None:
    activation = node()
    model, z = program(environment, kind, activation)
    y = activation.solver_vars[0][1]
    assert extreme(model, y, gurobipy.GRB.MINIMIZE) == pytest.approx(0)
    assert extreme(model, y, gurobipy.GRB.MAXIMIZE) == pytest.approx(2)
    assert extreme(model, y - z[1], gurobipy.GRB.MINIMIZE) == pytest.approx(0, abs=1e-6)
    # At z = 0 a mixed-integer program gives 0, its relaxations the upper line, from (-2, 0) to (2, 2).
    z[1].LB = z[1].UB = 0
    assert extreme(model, y, gurobipy.GRB.MAXIMIZE) == pytest.approx(0 if kind == "mip" else 1, abs=1e-6)


def test_stable_relus_need_no_variable(environment: Any) -> None:
    activation = node()
    model, z = program(environment, "mip", activation)
    (_, _), (active, inactive) = activation.solver_vars
    assert active.sameAs(z[2]) and inactive.VarName == "zero"
    assert [variable.VarName for variable in activation.integer_vars] == ["aReLU/act_1"]
    assert activation.integer_vars[0].VType == "B"
    assert model.getVarByName("ReLU/act_1") is not None
    assert model.getVarByName("ReLU/act_0") is None  # α,β-CROWN would take it for a ReLU


def test_a_linear_program_has_no_integer_variables(environment: Any) -> None:
    activation = node()
    model, _ = program(environment, "lp", activation)
    assert model.IsMIP == 0 and not hasattr(activation, "integer_vars")


def test_another_kind_is_refused(environment: Any) -> None:
    with pytest.raises(UnsupportedError, match="'sos' is not implemented for grafted networks"):
        program(environment, "sos", node())
