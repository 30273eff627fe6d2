"""Fully connected MNIST networks.

Two naming customs meet here. VNN-COMP's `mnistfc` nets count hidden layers: 2x256 has two of them. ERAN's nets count
the output layer too: 6x100 and 8x200 have five and seven hidden layers.
"""

from __future__ import annotations

from torch import nn

from abcrown_graft.model_defs.layers import fully_connected
from abcrown_graft.models.definitions import definition

MNIST = (1, 28, 28)


@definition("mnist_fc_2x256", input_shape=MNIST, num_classes=10)
def mnist_fc(hidden_layers: int = 2, width: int = 256, num_classes: int = 10) -> nn.Module:
    """FC 784, then `hidden_layers` layers of `width` ReLU neurons, then the outputs."""
    return nn.Sequential(nn.Flatten(), *fully_connected(784, [width] * hidden_layers, num_classes))


@definition("mnist_fc_4x256", input_shape=MNIST, num_classes=10)
def mnist_fc_4x256() -> nn.Module:
    """VNN-COMP's 4x256: four hidden layers."""
    return mnist_fc(4, 256)


@definition("mnist_fc_6x256", input_shape=MNIST, num_classes=10)
def mnist_fc_6x256() -> nn.Module:
    """VNN-COMP's 6x256: six hidden layers."""
    return mnist_fc(6, 256)


@definition("mnist_fc_6x100", input_shape=MNIST, num_classes=10)
def mnist_fc_6x100() -> nn.Module:
    """ERAN's 6x100: five hidden layers."""
    return mnist_fc(5, 100)


@definition("mnist_fc_9x100", input_shape=MNIST, num_classes=10)
def mnist_fc_9x100() -> nn.Module:
    """ERAN's 9x100: eight hidden layers."""
    return mnist_fc(8, 100)


@definition("mnist_fc_6x200", input_shape=MNIST, num_classes=10)
def mnist_fc_6x200() -> nn.Module:
    """ERAN's 6x200: five hidden layers."""
    return mnist_fc(5, 200)


@definition("mnist_fc_8x200", input_shape=MNIST, num_classes=10)
def mnist_fc_8x200() -> nn.Module:
    """The grafting paper's 8x200: seven hidden layers."""
    return mnist_fc(7, 200)


@definition("mnist_fc_9x200", input_shape=MNIST, num_classes=10)
def mnist_fc_9x200() -> nn.Module:
    """ERAN's 9x200: eight hidden layers."""
    return mnist_fc(8, 200)
