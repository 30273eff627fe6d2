"""ResNet-2B and ResNet-4B of VNN-COMP 2021, without batch norm (it is folded in the published weights)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from abcrown_graft.models.definitions import definition


class BasicBlock(nn.Module):
    """relu2(conv2(relu1(conv1(x))) + shortcut(x)); the shortcut is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Sequential() if same else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride))
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, inputs, height, width)` to `(batch, outputs, ceil(height / stride), ceil(width / stride))`."""
        return self.relu2(self.conv2(self.relu1(self.conv1(x))) + self.shortcut(x))


class ResNet(nn.Module):
    """Conv k3 s2 p1, stages of two blocks whose first has stride 2, FC -100-10.

    Args:
        stem: output channels of the first convolution.
        stages: output channels of each stage; stage k is called `layer{k}`.
        channels: of the image.
        size: side length of the image in pixels.
        num_classes: number of outputs.
    """

    def __init__(
        self, stem: int, stages: Sequence[int], channels: int = 3, size: int = 32, num_classes: int = 10
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, stem, 3, 2, 1)
        self.relu1 = nn.ReLU()
        size, inputs = (size + 1) // 2, stem
        self.stages = [f"layer{k}" for k in range(1, len(stages) + 1)]
        for stage, outputs in zip(self.stages, stages, strict=True):
            self.add_module(stage, nn.Sequential(BasicBlock(inputs, outputs, 2), BasicBlock(outputs, outputs, 1)))
            size, inputs = (size + 1) // 2, outputs
        self.flatten = nn.Flatten()
        self.linear1 = nn.Linear(inputs * size * size, 100)
        self.relu2 = nn.ReLU()
        self.linear2 = nn.Linear(100, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, channels, size, size)` to `(batch, num_classes)`."""
        x = self.relu1(self.conv1(x))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        return self.linear2(self.relu2(self.linear1(self.flatten(x))))


@definition("resnet_2b", input_shape=(3, 32, 32), num_classes=10)
def resnet_2b(channels: int = 3, size: int = 32, num_classes: int = 10) -> nn.Module:
    """Conv 3-8, blocks 8-16 (s2) and 16-16, FC 1024-100-10."""
    return ResNet(8, [16], channels, size, num_classes)


@definition("resnet_4b", input_shape=(3, 32, 32), num_classes=10)
def resnet_4b(channels: int = 3, size: int = 32, num_classes: int = 10) -> nn.Module:
    """Conv 3-16, blocks 16-32 (s2), 32-32, 32-32 (s2), 32-32, FC 512-100-10."""
    return ResNet(16, [32, 32], channels, size, num_classes)
