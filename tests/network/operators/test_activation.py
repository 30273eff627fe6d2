"""Every activation: what it declares holds, and what it does not declare is never assumed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from operator_examples import Example, activation_examples
from torch import Tensor

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.geometry.box import Box
from abcrown_graft.network import operators as op
from abcrown_graft.network.onnx_writer import OnnxWriter
from abcrown_graft.network.relaxation import Relaxation

pytestmark = pytest.mark.usefixtures("one_thread")

EXAMPLES = activation_examples()


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest) -> Example:
    torch.manual_seed(2)
    return EXAMPLES[request.param]


def activation(example: Example) -> op.Activation:
    assert isinstance(example.operator, op.Activation)
    return example.operator


def points_of(box: Box, count: int = 200) -> Tensor:
    """Random points of a batch of boxes, some of them ends, `(count, batch, *neurons)`."""
    share = torch.rand(count, *box.lower.shape, dtype=torch.float64)
    share[: count // 4] = share[: count // 4].round()
    return box.clamp(box.lower + share * (box.upper - box.lower))


def values(operator: op.Activation, points: Tensor) -> Tensor:
    return operator.value(points.flatten(0, 1)).unflatten(0, points.shape[:2])


def test_lines_and_interval_enclose_the_function(example: Example) -> None:
    operator, (z,) = activation(example), example.boxes()
    points = points_of(z)
    found, lines, box = values(operator, points), operator.relax(z), operator.interval(z)
    assert (lines.lower_slope * points + lines.lower_intercept <= found + 1e-12).all()
    assert (lines.upper_slope * points + lines.upper_intercept >= found - 1e-12).all()
    assert (box.lower <= found + 1e-12).all() and (box.upper >= found - 1e-12).all()
    torch.testing.assert_close(found.amin(0), box.lower)
    torch.testing.assert_close(found.amax(0), box.upper)


def test_a_neuron_without_a_kink_inside_is_its_line(example: Example) -> None:
    operator, (z,) = activation(example), example.boxes()
    stable, lines, points = ~operator.unstable(z), operator.relax(z), points_of(z)
    assert stable.any()
    assert torch.equal(lines.lower_slope[stable], lines.upper_slope[stable])
    assert torch.equal(lines.lower_intercept[stable], lines.upper_intercept[stable])
    exact = lines.lower_slope * points + lines.lower_intercept
    torch.testing.assert_close(values(operator, points)[:, stable], exact[:, stable])


def test_every_neuron_that_is_not_grafted_is_the_declared_hinge(example: Example) -> None:
    operator, (z,) = activation(example), example.inputs(50)
    assert operator.hinge is not None
    plain = torch.ones(example.shape, dtype=torch.bool) if operator.grafted is None else ~operator.grafted
    expected = operator.hinge.slope * z + operator.hinge.gain * z.relu()
    torch.testing.assert_close(operator.value(z)[:, plain], expected[:, plain])


def test_derivatives_lie_in_the_range_of_slopes(example: Example) -> None:
    operator, (z,) = activation(example), example.boxes()
    points, slopes = points_of(z).requires_grad_(True), operator.slopes(z)
    (found,) = torch.autograd.grad(values(operator, points).sum(), points)
    away = points != 0
    assert (found >= slopes.lower - 1e-12)[away].all() and (found <= slopes.upper + 1e-12)[away].all()


def test_the_magnitude_bounds_the_function_and_its_terms(example: Example) -> None:
    operator, (z,) = activation(example), example.inputs(50)
    assert (operator.magnitude(z.abs()) >= operator.value(z).abs() - 1e-12).all()


def test_a_monotone_function_does_not_fall(example: Example) -> None:
    operator, (z,) = activation(example), example.inputs(50)
    if operator.monotone:
        assert (operator.value(z + 0.1) >= operator.value(z)).all()


class Bent(op.Activation, abstract=True):
    """`max(z, 0)` up to 3, and `2 z - 3` from there on; where its kinks are is left to be declared."""

    hinge = None
    monotone = True
    graftable = False
    roundings = 8

    def value(self, *inputs: Tensor) -> Tensor:
        (z,) = inputs
        return z.relu() + (z - 3).relu()

    def magnitude(self, *inputs: Tensor) -> Tensor:
        return 2 * inputs[0] + 3

    def relax(self, z: Box) -> Relaxation:
        zero = torch.zeros_like(z.lower)
        return Relaxation(zero, zero, zero, self.value(z.upper))

    def slopes(self, z: Box) -> Box:
        return Box(torch.zeros_like(z.lower), torch.full_like(z.lower, 2.0))

    def write_onnx(self, graph: OnnxWriter, sources: Sequence[str], shapes: tuple, output: str) -> None:
        raise UnsupportedError("not written")


class TwoKinks(Bent):
    """As it is."""

    kinks = (0.0, 3.0)


class Curve(Bent):
    """As if it were not piecewise linear."""

    kinks = None


class TestStability:
    def test_every_kink_counts(self) -> None:
        z = Box(torch.tensor([[-1.0, 1.0, 2.0, 3.0, -2.0, 2.9]]), torch.tensor([[0.0, 3.0, 4.0, 5.0, 1.0, 3.1]]))
        assert TwoKinks().unstable(z).tolist() == [[False, False, True, False, True, True]]

    def test_unknown_bounds_are_unstable(self) -> None:
        nan = float("nan")
        z = Box(torch.tensor([[nan, -1.0, nan]]), torch.tensor([[1.0, nan, nan]]))
        assert op.ReLU().unstable(z).all() and TwoKinks().unstable(z).all()

    def test_grafted_neurons_are_lines(self) -> None:
        operator = op.GraftedReLU(torch.tensor([True, False]), torch.ones(2), torch.ones(2))
        assert operator.unstable(Box(-torch.ones(1, 2), torch.ones(1, 2))).tolist() == [[False, True]]

    def test_a_function_that_is_not_piecewise_linear_is_never_stable(self) -> None:
        assert Curve().unstable(Box(torch.ones(1, 2), torch.full((1, 2), 2.0))).all()


class TestDefinitions:
    """What is left out is refused where it is left out."""

    @pytest.mark.parametrize("name", ["kinks", "hinge", "monotone", "graftable", "relax", "slopes", "write_onnx"])
    def test_whatever_is_missing_is_named(self, name: str) -> None:
        rules = ["value", "magnitude", "hinge", "monotone", "graftable", "relax", "roundings", "slopes", "write_onnx"]
        members = {"kinks": (0.0, 3.0), **{rule: vars(Bent)[rule] for rule in rules}}
        members.pop(name)
        with pytest.raises(TypeError, match=f"^operator Forgetful does not define {name}$"):
            type("Forgetful", (op.Activation,), members)

    def test_what_is_not_monotone_has_an_interval_rule(self) -> None:
        with pytest.raises(TypeError, match="operator Wave does not define interval, and is not declared monotone"):

            class Wave(Bent):
                kinks = (0.0,)
                monotone = False
