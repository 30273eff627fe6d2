"""ConvBig of the ERAN benchmarks, as in the linearity-grafting paper (ICML 2022)."""

from __future__ import annotations

from torch import nn

from abcrown_graft.model_defs.layers import Conv, conv_net
from abcrown_graft.models.definitions import definition


@definition("convbig_cifar", input_shape=(3, 32, 32), num_classes=10)
def convbig_cifar(channels: int = 3, size: int = 32, num_classes: int = 10) -> nn.Module:
    """Conv 3-32 (k3 s1), 32-32 (k4 s2), 32-64 (k3 s1), 64-64 (k4 s2), all p1; FC 4096-512-512-10."""
    convolutions = [Conv(32, 3, 1, 1), Conv(32, 4, 2, 1), Conv(64, 3, 1, 1), Conv(64, 4, 2, 1)]
    return conv_net((channels, size, size), convolutions, [512, 512], num_classes)


@definition("convbig_svhn", input_shape=(3, 32, 32), num_classes=10)
def convbig_svhn() -> nn.Module:
    """ConvBig for SVHN: the same as for CIFAR-10."""
    return convbig_cifar()


@definition("convbig_mnist", input_shape=(1, 28, 28), num_classes=10)
def convbig_mnist() -> nn.Module:
    """ConvBig for MNIST: one channel, FC 3136-512-512-10."""
    return convbig_cifar(channels=1, size=28)
