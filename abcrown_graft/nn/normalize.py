"""Input normalisation as the first layer of a network, so that perturbations are measured in pixels of [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from abcrown_graft.errors import ConfigError


class Normalize(nn.Module):
    """`(x - mean) / std`, per channel.

    The buffers `mean` and `std` are not persistent: they belong to the data, not to a checkpoint. Their shape is `()`
    if one number serves all channels, else `(channels, 1, 1)`. They are float32, as the weights are: the layer that is
    trained, verified and exported normalises by the float32 numbers nearest to the given ones.

    Args:
        mean: one number or one per channel, in units of the pixels.
        std: one number or one per channel, positive.
        channels: of the input; any number if None.

    Raises:
        ConfigError: an entry is not finite, a standard deviation is not positive, in float32 too, or the number of
            entries is neither 1 nor `channels`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: float | Sequence[float] = 0.0, std: float | Sequence[float] = 1.0, channels: int | None = None
    ) -> None:
        super().__init__()
        means, stds = _entries("data.mean", mean, channels), _entries("data.std", std, channels)
        if bool((_single(stds) <= 0).any()):
            raise ConfigError(f"data.std: {_shown(stds)} has an entry that is not positive; give standard deviations")
        if len(means) > 1 and len(stds) > 1 and len(means) != len(stds):
            raise ConfigError(f"data.mean has {len(means)} entries and data.std {len(stds)}; give one per channel")
        self.register_buffer("mean", _per_channel(means), persistent=False)
        self.register_buffer("std", _per_channel(stds), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`x` `(batch, channels, height, width)`, or of any shape if there is one mean and one std."""
        return (x - self.mean) / self.std

    def extra_repr(self) -> str:
        return f"mean={self.mean.flatten().tolist()}, std={self.std.flatten().tolist()}"


def _entries(key: str, value: float | Sequence[float], channels: int | None) -> list[float]:
    """The numbers in `value`, checked; `key` is how messages call it."""
    numbers = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not numbers or not all(isinstance(number, (int, float)) and _is_finite(number) for number in numbers):
        raise ConfigError(f"{key}: {value!r} is not a finite number or a list of them")
    if channels is not None and len(numbers) not in (1, channels):
        raise ConfigError(f"{key}: {value!r} has {len(numbers)} entries; give 1 or one per channel ({channels})")
    return [float(number) for number in numbers]


def _is_finite(number: float) -> bool:
    return math.isfinite(number) and bool(_single([number]).isfinite().all())


def _single(numbers: Sequence[float]) -> Tensor:
    """The nearest float32 numbers, whatever torch's default precision is."""
    return torch.tensor(numbers, dtype=torch.float32)


def _per_channel(numbers: list[float]) -> Tensor:
    return _single(numbers)[0] if len(numbers) == 1 else _single(numbers).reshape(-1, 1, 1)


def _shown(numbers: list[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)
