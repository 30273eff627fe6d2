"""CNN-B, the smaller of the two convolutional networks in the linearity-grafting paper (ICML 2022)."""

from __future__ import annotations

from torch import nn

from abcrown_graft.model_defs.layers import Conv, conv_net
from abcrown_graft.models.definitions import definition


@definition("cnn_b", input_shape=(3, 32, 32), num_classes=10)
def cnn_b(channels: int = 3, size: int = 32, hidden: int = 250, num_classes: int = 10) -> nn.Module:
    """Padding 1 left and top, 2 right and bottom; Conv 3-32 (k5 s2 p0), 32-128 (k4 s2 p1); FC 8192-250-10."""
    padded = (channels, size + 3, size + 3)
    return nn.Sequential(
        nn.ZeroPad2d((1, 2, 1, 2)),
        *conv_net(padded, [Conv(32, 5, 2, 0), Conv(128, 4, 2, 1)], [hidden], num_classes),
    )
