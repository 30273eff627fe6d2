"""Parameters and ReLU neurons of every definition against the published tables."""

from __future__ import annotations

import itertools

import pytest
import torch
from sample_networks import model_names
from torch import nn

from abcrown_graft.models.definitions import model_definition

PUBLISHED = {
    "cnn_a": (214_918, [4096, 2048, 100]),
    "cnn_a_mnist": (166_406, [3136, 1568, 100]),
    "cnn_a_svhn": (214_918, [4096, 2048, 100]),
    "cnn_b": (2_118_856, [8192, 8192, 250]),
    "convbig_mnist": (1_974_762, [25088, 6272, 12544, 3136, 512, 512]),
    "convbig_cifar": (2_466_858, [32768, 8192, 16384, 4096, 512, 512]),
    "convbig_svhn": (2_466_858, [32768, 8192, 16384, 4096, 512, 512]),
    "convhuge": (17_192_650, [65536, 65536, 32768, 32768, 32768, 512]),
    "resnet_2b": (112_006, [2048] + 4 * [1024] + [100]),
    "resnet_4b": (123_734, [4096] + 4 * [2048] + 4 * [512] + [100]),
    "conv_small_cifar": (125_318, [3600, 1152, 100]),
    "conv_small_mnist": (89_606, [2704, 800, 100]),
    "cifar_base": (105_966, [2048, 1024, 100]),
    "digits_cnn": (60_694, [1024, 512, 100]),
    "mnist_fc_2x256": (269_322, 2 * [256]),
    "mnist_fc_4x256": (400_906, 4 * [256]),
    "mnist_fc_6x256": (532_490, 6 * [256]),
    "mnist_fc_6x100": (119_910, 5 * [100]),
    "mnist_fc_9x100": (150_210, 8 * [100]),
    "mnist_fc_6x200": (319_810, 5 * [200]),
    "mnist_fc_8x200": (400_210, 7 * [200]),
    "mnist_fc_9x200": (440_410, 8 * [200]),
}


def on_meta(name: str) -> nn.Module:
    """The network without memory for its weights: shapes are all that these tests need."""
    with torch.device("meta"):
        return model_definition(name).build().eval()


def test_every_registered_definition_is_in_the_table():
    assert set(model_names()) == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_number_of_parameters(name: str):
    assert sum(parameter.numel() for parameter in on_meta(name).parameters()) == PUBLISHED[name][0]


@pytest.mark.parametrize("name", PUBLISHED)
def test_relu_neurons_per_layer_in_forward_order(name: str):
    model, neurons = on_meta(name), []
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda _module, _inputs, output: neurons.append(output[0].numel()))
    model(torch.zeros(1, *model_definition(name).input_shape, device="meta"))
    assert neurons == PUBLISHED[name][1]


@pytest.mark.parametrize("name", PUBLISHED)
def test_input_and_output_shapes_are_those_of_the_definition(name: str):
    entry = model_definition(name)
    assert on_meta(name)(torch.zeros(2, *entry.input_shape, device="meta")).shape == (2, entry.num_classes)


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_relu_is_a_module_of_its_own_used_once(name: str):
    calls: dict[str, int] = {}
    model = on_meta(name)
    for site, module in model.named_modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda *_, site=site: calls.update({site: calls.get(site, 0) + 1}))
    model(torch.zeros(1, *model_definition(name).input_shape, device="meta"))
    assert list(calls.values()) == [1] * len(PUBLISHED[name][1])


def test_totals_of_the_published_table():
    totals = {"cnn_b": 16_634, "convbig_mnist": 48_064, "convbig_cifar": 62_464, "resnet_4b": 14_436}
    totals["convhuge"] = 229_888
    assert {name: sum(PUBLISHED[name][1]) for name in totals} == totals


def test_convhuge_normalises_after_every_convolution_and_the_first_fully_connected_layer():
    layers = list(on_meta("convhuge"))
    pairs = itertools.pairwise(layers)
    followers = [after for layer, after in pairs if isinstance(layer, (nn.Conv2d, nn.Linear))]
    assert [type(layer) for layer in followers] == [nn.BatchNorm2d] * 5 + [nn.BatchNorm1d]
