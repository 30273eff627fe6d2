"""The graph computes what the module computes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from sample_networks import Sample, model_names, samples

from abcrown_graft.models.build import build_model
from abcrown_graft.network import operators as op
from abcrown_graft.network.forward import evaluate, node_values, pre_activations
from abcrown_graft.network.trace import from_module

pytestmark = pytest.mark.usefixtures("one_thread")


@given(samples())
@settings(max_examples=60)
def test_graph_and_module_agree(sample: Sample):
    x = sample.box.lower
    torch.testing.assert_close(evaluate(sample.network, x), sample.module(x), rtol=1e-10, atol=1e-10)


@given(samples(batch=3))
@settings(max_examples=20)
def test_images_of_a_batch_do_not_mix(sample: Sample):
    x = sample.box.lower
    alone = torch.cat([evaluate(sample.network, x[k : k + 1]) for k in range(3)])
    torch.testing.assert_close(evaluate(sample.network, x), alone)


@pytest.mark.parametrize("name", model_names())
def test_every_architecture_agrees_with_its_module(name: str):
    torch.manual_seed(0)
    module, shape = build_model(name)
    x = torch.rand(2, *shape)
    with torch.no_grad():
        torch.testing.assert_close(evaluate(from_module(module, shape), x), module.eval()(x))


@given(samples(fractions=(0, 0.5)))
@settings(max_examples=20)
def test_pre_activations_are_what_goes_into_each_site(sample: Sample):
    x = sample.box.lower
    output, inputs = pre_activations(sample.network, x)
    values = node_values(sample.network, x)
    assert list(inputs) == list(sample.network.sites)
    assert torch.equal(output, values[sample.network.output.name])
    for site, z in inputs.items():
        assert torch.equal(sample.network.by_name[site].operator.value(z), values[site])


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        (op.ReLU(), [0, 0, 3]),
        (op.LeakyReLU(0.5), [-1, 0, 3]),
        (op.GraftedReLU(torch.tensor([True, True, False]), torch.tensor([2.0, 2, 2]), torch.ones(3)), [-3, 1, 3]),
        (op.Scale(torch.tensor(2.0), torch.tensor([1.0, 2, 3])), [-3, 2, 9]),
        (op.Pad((1, -1)), [0, -2, 0]),
        (op.Reshape((3, 1)), [[-2], [0], [3]]),
        (op.Linear(torch.tensor([[1.0, 2, 3]]), torch.tensor([-1.0])), [6]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_hand_computed_values(operator: op.Operator, expected: list):
    assert operator.value(torch.tensor([[-2.0, 0, 3]])).tolist() == [expected]
