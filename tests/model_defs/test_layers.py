"""The builder of convolutional networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from abcrown_graft.errors import ModelError
from abcrown_graft.model_defs.layers import Conv, conv_net, fully_connected


@pytest.mark.parametrize("kernel", (1, 2, 3, 4, 5))
@pytest.mark.parametrize("stride", (1, 2, 3))
@pytest.mark.parametrize("padding", (0, 1, 2))
def test_output_size_is_the_one_torch_computes(kernel: int, stride: int, padding: int):
    conv = nn.Conv2d(1, 1, kernel, stride, padding)
    for size in range(5, 12):
        expected = conv(torch.zeros(1, 1, size, size)).shape[-1]
        assert Conv(1, kernel, stride, padding).output_size(size) == expected


def test_oblong_images_work():
    model = conv_net((2, 8, 12), [Conv(3, 4, 2, 1), Conv(4, 3, 1, 0)], [5], num_classes=7)
    assert model(torch.zeros(2, 2, 8, 12)).shape == (2, 7)


def test_layers_come_in_order_with_a_relu_after_each_but_the_last():
    model = conv_net((1, 4, 4), [Conv(2, 3, 1, 1)], [5], batch_norm=True)
    names = [type(layer).__name__ for layer in model]
    assert names == "Conv2d BatchNorm2d ReLU Flatten Linear BatchNorm1d ReLU Linear".split()


def test_no_hidden_layer_is_one_linear_map():
    assert [type(layer) for layer in fully_connected(3, [], 2)] == [nn.Linear]


def test_an_image_smaller_than_the_kernel_is_refused():
    with pytest.raises(ModelError, match="2 pixels, padded by 0, are too few for a kernel of 3"):
        conv_net((1, 4, 4), [Conv(1, 3, 1, 0), Conv(1, 3, 1, 0)], [])
