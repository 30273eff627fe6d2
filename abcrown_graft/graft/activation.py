"""The grafted activation as a torch module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from abcrown_graft.errors import MaskError


class GraftedReLU(nn.Module):
    """Per neuron `y = slope * z + intercept` where the mask is set, `max(z, 0)` elsewhere.

    Plain differentiable operations, so second derivatives work (GradAlign needs them). Pruned
    neurons are grafted ones with slope and intercept zero.

    Args:
        mask: boolean, of the neurons' shape (no batch); fixed.
        slope, intercept: initial values, numbers or tensors of that shape; learnable.

    Source: Chen et al., "Linearity Grafting", ICML 2022, eq. 3.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, slope: float | Tensor = 0.4, intercept: float | Tensor = 0.0) -> None:
        super().__init__()
        if mask.dtype != torch.bool:
            raise MaskError(f"a graft mask is boolean, not {mask.dtype}")
        dtype = torch.get_default_dtype()
        self.register_buffer("mask", mask.clone())
        self.slope = nn.Parameter(torch.as_tensor(slope, dtype=dtype).expand(mask.shape).clone())
        self.intercept = nn.Parameter(torch.as_tensor(intercept, dtype=dtype).expand(mask.shape).clone())

    def forward(self, z: Tensor) -> Tensor:
        """`(batch, *neurons)` to the same shape."""
        return torch.where(self.mask, self.slope * z + self.intercept, z.relu())

    def extra_repr(self) -> str:
        return f"{int(self.mask.sum())} of {self.mask.numel()} neurons linear"
