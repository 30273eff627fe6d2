"""Residual networks: names, shortcuts, and the definition of a block."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from abcrown_graft.model_defs.resnet import BasicBlock, resnet_2b, resnet_4b


def test_a_block_adds_its_shortcut_before_the_last_relu():
    torch.manual_seed(0)
    block, x = BasicBlock(2, 3, stride=2), torch.randn(4, 2, 6, 6)
    residual = block.conv2(functional.relu(block.conv1(x)))
    assert torch.equal(block(x), functional.relu(residual + block.shortcut[0](x)))


def test_a_block_that_keeps_the_shape_adds_its_input():
    torch.manual_seed(0)
    block, x = BasicBlock(3, 3, stride=1), torch.randn(4, 3, 6, 6)
    assert len(block.shortcut) == 0
    assert torch.equal(block(x), functional.relu(block.conv2(functional.relu(block.conv1(x))) + x))


def test_relu_sites_have_names():
    sites = [name for name, module in resnet_2b().named_modules() if isinstance(module, nn.ReLU)]
    blocks = [f"layer1.{block}.relu{k}" for block in (0, 1) for k in (1, 2)]
    assert sites == ["relu1", *blocks, "relu2"]


def test_only_blocks_of_stride_two_have_a_shortcut_convolution():
    shortcuts = {name.rpartition(".")[0] for name in resnet_4b().state_dict() if "shortcut" in name}
    assert shortcuts == {"layer1.0.shortcut.0", "layer2.0.shortcut.0"}


@pytest.mark.parametrize("size", (7, 8))
def test_odd_and_even_image_sizes_work(size: int):
    assert resnet_4b(channels=1, size=size, num_classes=3)(torch.zeros(2, 1, size, size)).shape == (2, 3)
