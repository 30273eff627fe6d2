"""Grafted activations spelled out as arithmetic are sites again, and only those that are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from onnx_models import assert_read, model_of, node, weights

from abcrown_graft.formats.onnx.reader import OnnxNetwork
from abcrown_graft.network import operators as op

pytestmark = pytest.mark.usefixtures("one_thread")

MASK = np.array([1, 0, 1, 0, 0], dtype=np.float32)
SLOPE, INTERCEPT = weights(5, seed=1), weights(5, seed=2)


def grafted(nodes: Sequence[onnx.NodeProto], shape: tuple = (1, 3), **arrays: np.ndarray) -> onnx.ModelProto:
    """A linear layer z, the nodes from z to s, and another linear layer."""
    first, last = node("Gemm", "x first b", "z"), node("MatMul", "s last")
    given = {"first": weights(3, 5), "b": weights(5), "last": weights(5, 2), **arrays}
    return model_of(first, *nodes, last, shape=shape, **given)


def exported(first: str = "s1 gate", **changed: np.ndarray) -> onnx.ModelProto:
    """`A z + B + relu(R z - m)`, whose last sum takes its terms in the given order."""
    nodes = [
        node("Mul", "z A", "s0"), node("Add", "s0 B", "s1"), node("Mul", "z R", "g0"), node("Sub", "g0 m", "g1"),
        node("Relu", "g1", "gate"), node("Add", first, "s"),
    ]  # fmt: skip
    arrays = {"A": MASK * SLOPE, "B": MASK * INTERCEPT, "R": 1 - MASK, "m": MASK, **changed}
    return grafted(nodes, **arrays)


def spelled(**changed: np.ndarray) -> onnx.ModelProto:
    """`m (a z + b) + (1 - m) relu(z)`, with `1 - m` left to the reader."""
    nodes = [
        node("Mul", "z a", "s0"), node("Add", "s0 c", "s1"), node("Mul", "m s1", "s2"), node("Relu", "z", "r0"),
        node("Sub", "one m", "k"), node("Mul", "k r0", "r1"), node("Add", "s2 r1", "s"),
    ]  # fmt: skip
    arrays = {"a": SLOPE, "c": INTERCEPT, "m": MASK, "one": np.ones(1, np.float32), **changed}
    return grafted(nodes, **arrays)


def shifted(gate_shift: np.ndarray, intercept: np.ndarray) -> onnx.ModelProto:
    """`A z + B + (relu(R z - m) + t)`."""
    nodes = [
        node("Mul", "z A", "s0"), node("Add", "s0 B", "s1"), node("Mul", "z R", "g0"), node("Sub", "g0 m", "g1"),
        node("Relu", "g1", "g2"), node("Add", "g2 t", "gate"), node("Add", "s1 gate", "s"),
    ]  # fmt: skip
    return grafted(nodes, A=MASK * SLOPE, B=intercept, R=1 - MASK, m=MASK, t=gate_shift)


def site(found: OnnxNetwork) -> op.Operator:
    """The operator called s."""
    return found.network.by_name["s"].operator


@pytest.mark.parametrize("model", [exported(), exported("gate s1"), spelled()], ids=["ours", "turned", "spelled"])
def test_becomes_a_site(model: onnx.ModelProto, tmp_path: Path):
    found = assert_read(model, tmp_path)
    operator = site(found)
    assert isinstance(operator, op.GraftedReLU)
    assert operator.mask.tolist() == [True, False, True, False, False]
    mask = torch.from_numpy(MASK).double()
    assert torch.equal(operator.slope, mask * torch.from_numpy(SLOPE).double())
    assert torch.equal(operator.intercept, mask * torch.from_numpy(INTERCEPT).double())
    assert dict(found.network.sites) == {"s": (5,)}
    assert len(found.network.nodes) == 4, "input, linear, site, linear"


def test_a_boolean_mask_that_is_cast(tmp_path: Path):
    model = spelled(flags=MASK.astype(bool))
    model.graph.initializer.remove(next(t for t in model.graph.initializer if t.name == "m"))
    model.graph.node.insert(0, helper.make_node("Cast", ["flags"], ["m"], "cast", to=TensorProto.FLOAT))
    assert isinstance(site(assert_read(model, tmp_path)), op.GraftedReLU)


def test_where_is_read_as_such_a_sum(tmp_path: Path):
    nodes = [
        node("Mul", "z a", "s0"), node("Add", "s0 c", "s1"), node("Relu", "z", "r"), node("Where", "m s1 r", "s"),
    ]  # fmt: skip
    found = assert_read(grafted(nodes, a=SLOPE, c=INTERCEPT, m=MASK.astype(bool)), tmp_path)
    assert isinstance(site(found), op.GraftedReLU)


def test_a_convolution_with_a_mask_over_its_map(tmp_path: Path):
    mask = (np.random.default_rng(3).random((1, 2, 3, 3)) < 0.5).astype(np.float32)
    nodes = [
        node("Conv", "x k", "z"), node("Mul", "z A", "s0"), node("Add", "s0 B", "s1"), node("Mul", "z R", "g0"),
        node("Sub", "g0 m", "g1"), node("Relu", "g1", "gate"), node("Add", "s1 gate", "s"),
        node("Flatten", "s", "f"), node("MatMul", "f w"),
    ]  # fmt: skip
    arrays = {"A": mask * weights(1, 2, 3, 3), "B": mask * 0.5, "R": 1 - mask, "m": mask}
    model = model_of(*nodes, shape=("n", 1, 4, 4), k=weights(2, 1, 2, 2), w=weights(18, 2), **arrays)
    operator = site(assert_read(model, tmp_path))
    assert isinstance(operator, op.GraftedReLU)
    assert torch.equal(operator.mask, torch.from_numpy(mask[0] == 1))


def test_without_a_grafted_neuron_it_is_a_relu(tmp_path: Path):
    zero = np.zeros(5, np.float32)
    assert isinstance(site(assert_read(exported(A=zero, B=zero, R=zero + 1, m=zero), tmp_path)), op.ReLU)


def test_with_nothing_else_it_is_linear(tmp_path: Path):
    one = np.ones(5, np.float32)
    operator = site(assert_read(exported(A=SLOPE, B=INTERCEPT, R=one - 1, m=one), tmp_path))
    assert isinstance(operator, op.GraftedReLU) and bool(operator.mask.all())


def test_the_intercept_may_be_on_either_side(tmp_path: Path):
    operator = site(assert_read(shifted(MASK * INTERCEPT, 0 * MASK), tmp_path))
    assert isinstance(operator, op.GraftedReLU)
    assert torch.equal(operator.intercept, torch.from_numpy(MASK * INTERCEPT).double())


NEARLY = {
    "a gate that is not 0 or 1": exported(R=1 - MASK * np.float32(0.999)),
    "a gate a little below 1": exported(R=(1 - MASK) * np.float32(0.9999)),
    "a constant above zero in the gate": exported(m=-MASK),
    "a shift in the gate of a plain neuron": exported(m=MASK + np.float32([0, 0.1, 0, 0, 0])),
    "a slope of a plain neuron": exported(A=SLOPE),
    "an intercept of a plain neuron": exported(B=INTERCEPT),
    "an intercept in two parts": shifted(MASK, MASK),
    "a plain neuron times 0.9": spelled(one=np.where(MASK == 1, 1, 0.9).astype(np.float32)),
    "a plain neuron with a shift": shifted(1 - MASK, MASK * INTERCEPT),
    "a mask of fractions": spelled(m=MASK * np.float32(0.5)),
}


@pytest.mark.parametrize("name", NEARLY)
def test_what_is_nearly_a_graft_stays_arithmetic(name: str, tmp_path: Path):
    """It is read all the same, and right."""
    found = assert_read(NEARLY[name], tmp_path)
    assert not any(isinstance(n.operator, op.GraftedReLU) for n in found.network.nodes)


def test_a_line_of_another_tensor_is_no_graft(tmp_path: Path):
    nodes = [
        node("Gemm", "x second", "other"), node("Mul", "other A", "s1"), node("Mul", "z R", "g0"),
        node("Sub", "g0 m", "g1"), node("Relu", "g1", "gate"), node("Add", "s1 gate", "s"),
    ]  # fmt: skip
    arrays = {"b": np.zeros(5, np.float32), "A": MASK * SLOPE, "R": 1 - MASK, "m": MASK}
    model = grafted(nodes, second=weights(3, 5, seed=5), **arrays)
    assert isinstance(site(assert_read(model, tmp_path)), op.Add)


def test_a_residual_sum_is_no_graft(tmp_path: Path):
    found = assert_read(grafted([node("Relu", "z", "r"), node("Add", "z r", "s")]), tmp_path)
    assert isinstance(site(found), op.Add)


def test_a_gate_that_is_read_elsewhere_too_is_kept_for_that(tmp_path: Path):
    model = exported()
    model.graph.node[-1].CopyFrom(node("Add", "s gate", "t"))
    model.graph.node.append(node("MatMul", "t last"))
    found = assert_read(model, tmp_path)
    assert isinstance(site(found), op.GraftedReLU)
    assert set(found.network.sites) == {"s", "gate"}
