"""An operator is complete or refused where it is defined."""

from __future__ import annotations

import pytest
import torch
from operator_examples import Example, examples
from torch import Tensor

from abcrown_graft.network import operators as op
from abcrown_graft.network.operators.operator import missing_rules

RULES = ["absolute", "constant", "copies", "element_wise", "entries", "fan_in", "linear", "longest_sum", "matrices"]
RULES += [
    "mixes",
    "pull_back",
    "pull_back_windows",
    "roundings",
    "takes_windows",
    "value",
    "window_before",
    "write_onnx",
]


@pytest.mark.parametrize("name", RULES)
def test_a_missing_rule_is_named(name: str) -> None:
    members = {rule: getattr(op.Scale, rule) for rule in RULES if rule != name}
    with pytest.raises(TypeError, match=f"^operator Shift does not define {name}$"):
        type("Shift", (op.AffineOperator,), members)


def test_all_that_is_missing_is_named() -> None:
    assert missing_rules(op.AffineOperator) == RULES


def test_rules_are_not_inherited_from_a_complete_operator() -> None:
    with pytest.raises(TypeError, match="operator Doubled: ReLU is complete; derive from one of its bases"):

        class Doubled(op.ReLU):
            def value(self, *inputs: Tensor) -> Tensor:
                return 2 * inputs[0].relu()


def test_every_operator_of_the_package_is_complete_and_has_examples() -> None:
    kinds = {getattr(op, name) for name in op.__all__} - {op.Hinge}
    bases = {op.Operator, op.Activation, op.AffineOperator, op.NonNegative, op.WithoutWindows}
    assert all(kind.is_complete for kind in kinds - bases) and not any(kind.is_complete for kind in bases)
    assert {type(example.operator) for example in examples().values()} == kinds - bases - {op.Input}


@pytest.mark.parametrize("name", examples())
def test_an_element_wise_operator_keeps_the_shape(name: str) -> None:
    example: Example = examples()[name]
    if example.operator.element_wise:
        assert all(shape == example.shape for shape in example.input_shapes)


@pytest.mark.parametrize("name", examples())
def test_images_of_a_batch_do_not_mix(name: str) -> None:
    operator, inputs = examples()[name].operator, examples()[name].inputs(3)
    alone = [operator.value(*(x[k : k + 1] for x in inputs)) for k in range(3)]
    torch.testing.assert_close(operator.value(*inputs), torch.cat(alone))
