"""What layers with learned weights share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def bias_of(module: nn.Conv2d | nn.Linear) -> Tensor:
    """The module's bias, or zeros."""
    return module.weight.new_zeros(len(module.weight)) if module.bias is None else module.bias


def per_output(constant: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether a constant that broadcasts to the shape has one number for each element of the first axis."""
    padded = (1,) * (len(shape) - constant.dim()) + tuple(constant.shape)
    return all(size == 1 for size in padded[1:])


def scaled_weights(weight: Tensor, bias: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Weight `(outputs, ...)` and bias of a layer followed by `scale * y + shift`, one number for each output.

    The products are formed in float64 and rounded once.
    """
    scale, shift = (t.double().reshape(-1).expand(len(weight)) for t in (scale, shift))
    product = weight.double() * scale.view(-1, *(1,) * (weight.dim() - 1))
    return product.to(weight.dtype), torch.addcmul(shift, bias.double(), scale).to(bias.dtype)
