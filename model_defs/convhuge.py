"""ConvHuge of the linearity-grafting paper (ICML 2022): 229,888 ReLU neurons."""

from __future__ import annotations

from torch import nn

from abcrown_graft.model_defs.layers import Conv, conv_net
from abcrown_graft.models.definitions import definition


@definition("convhuge", input_shape=(3, 32, 32), num_classes=10)
def convhuge(channels: int = 3, size: int = 32, num_classes: int = 10, batch_norm: bool = True) -> nn.Module:
    """Conv 3-64, 64-64, 64-128 (s2), 128-128, 128-128, all k3 p1; FC 32768-512-10.

    A batch norm follows every convolution and the first fully connected layer; verification folds it.
    """
    convolutions = [Conv(64, 3, 1, 1), Conv(64, 3, 1, 1), Conv(128, 3, 2, 1), Conv(128, 3, 1, 1), Conv(128, 3, 1, 1)]
    return conv_net((channels, size, size), convolutions, [512], num_classes, batch_norm)
