"""Small convolutional networks: CNN-A, ConvSmall, cifar_base and a network for 8x8 handwritten digits."""

from __future__ import annotations

from torch import nn

from abcrown_graft.model_defs.layers import Conv, conv_net
from abcrown_graft.models.definitions import definition


@definition("cnn_a", input_shape=(3, 32, 32), num_classes=10)
def cnn_a(
    channels: int = 3,
    size: int = 32,
    widths: tuple[int, int] = (16, 32),
    padding: int = 1,
    hidden: int = 100,
    num_classes: int = 10,
) -> nn.Module:
    """Two convolutions (k4 s2), one hidden layer. CNN-A and the Wong-Kolter nets of MNIST and SVHN are the default."""
    convolutions = [Conv(width, 4, 2, padding) for width in widths]
    return conv_net((channels, size, size), convolutions, [hidden], num_classes)


@definition("cnn_a_mnist", input_shape=(1, 28, 28), num_classes=10)
def cnn_a_mnist() -> nn.Module:
    """CNN-A for MNIST: one channel, FC 1568-100-10."""
    return cnn_a(channels=1, size=28)


@definition("cnn_a_svhn", input_shape=(3, 32, 32), num_classes=10)
def cnn_a_svhn() -> nn.Module:
    """CNN-A for SVHN: the same as for CIFAR-10."""
    return cnn_a()


@definition("conv_small_cifar", input_shape=(3, 32, 32), num_classes=10)
def conv_small_cifar() -> nn.Module:
    """ConvSmall of the ERAN benchmarks: CNN-A without padding, FC 1152-100-10."""
    return cnn_a(padding=0)


@definition("conv_small_mnist", input_shape=(1, 28, 28), num_classes=10)
def conv_small_mnist() -> nn.Module:
    """ConvSmall of the ERAN benchmarks for MNIST: FC 800-100-10."""
    return cnn_a(channels=1, size=28, padding=0)


@definition("cifar_base", input_shape=(3, 32, 32), num_classes=10)
def cifar_base() -> nn.Module:
    """The "base" network of the OVAL benchmarks: CNN-A of half the width, FC 1024-100-10."""
    return cnn_a(widths=(8, 16))


@definition("digits_cnn", input_shape=(1, 8, 8), num_classes=10)
def digits_cnn(channels: int = 1, size: int = 8, hidden: int = 100, num_classes: int = 10) -> nn.Module:
    """Conv 1-16 (k3 s1 p1), 16-32 (k4 s2 p1), FC 512-100-10: 1,636 ReLU neurons, for scikit-learn's digits."""
    return conv_net((channels, size, size), [Conv(16, 3, 1, 1), Conv(32, 4, 2, 1)], [hidden], num_classes)
