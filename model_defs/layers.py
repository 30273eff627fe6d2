"""The one shape that most networks of this field share: convolutions, flatten, fully connected layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from abcrown_graft.errors import ModelError


@dataclass(frozen=True)
class Conv:
    """A square convolution with bias: output channels, kernel size, stride and zero padding in pixels."""

    channels: int
    kernel: int
    stride: int
    padding: int

    def output_size(self, size: int) -> int:
        """The side length of the output on an input of side length `size`.

        Raises:
            ModelError: the padded input is smaller than the kernel.
        """
        if size + 2 * self.padding < self.kernel:
            raise ModelError(f"{size} pixels, padded by {self.padding}, are too few for a kernel of {self.kernel}")
        return (size + 2 * self.padding - self.kernel) // self.stride + 1


def conv_net(
    input_shape: tuple[int, int, int],
    convolutions: Sequence[Conv],
    hidden: Sequence[int],
    num_classes: int = 10,
    batch_norm: bool = False,
) -> nn.Sequential:
    """Convolutions, flatten, fully connected layers; a ReLU after each layer but the last.

    Args:
        input_shape: (channels, height, width) of one image.
        convolutions: in forward order.
        hidden: output sizes of the fully connected layers before the last one.
        num_classes: number of outputs.
        batch_norm: put a batch normalisation between each layer and its ReLU.

    Returns:
        A flat sequence, so that state-dict keys are plain indices; input `(batch, *input_shape)`, output
        `(batch, num_classes)`.

    Raises:
        ModelError: the image is too small for the convolutions.
    """
    channels, height, width = input_shape
    layers: list[nn.Module] = []
    for conv in convolutions:
        layers.append(nn.Conv2d(channels, conv.channels, conv.kernel, conv.stride, conv.padding))
        layers += [nn.BatchNorm2d(conv.channels)] if batch_norm else []
        layers.append(nn.ReLU())
        channels, height, width = conv.channels, conv.output_size(height), conv.output_size(width)
    layers.append(nn.Flatten())
    layers += fully_connected(channels * height * width, hidden, num_classes, batch_norm)
    return nn.Sequential(*layers)


def fully_connected(
    inputs: int, hidden: Sequence[int], num_classes: int, batch_norm: bool = False
) -> Iterator[nn.Module]:
    """Linear layers of the output sizes `hidden` and `num_classes`, a ReLU after each but the last."""
    for outputs in hidden:
        yield nn.Linear(inputs, outputs)
        if batch_norm:
            yield nn.BatchNorm1d(outputs)
        yield nn.ReLU()
        inputs = outputs
    yield nn.Linear(inputs, num_classes)
