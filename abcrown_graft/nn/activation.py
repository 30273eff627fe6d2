"""The grafted activation as a torch module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from abcrown_graft.errors import MaskError
from abcrown_graft.nn.fused import grafted_relu, is_fusible


class GraftedReLU(nn.Module):
    """Per neuron `y = slope * z + intercept` where the mask is set, `max(z, 0)` elsewhere.

    Differentiable twice (GradAlign needs it). Pruned neurons are grafted ones with slope and intercept zero.

    Args:
        mask: boolean, of the neurons' shape (no batch); fixed.
        slope, intercept: initial values, numbers or tensors of that shape; learnable.
        dtype: of slope and intercept; torch's default if None.

    Raises:
        MaskError: the mask is not boolean, or the initial values do not have its shape.

    Source: Chen et al., "Linearity Grafting", ICML 2022, eq. 3.
    """

    mask: Tensor
    slope: Tensor
    intercept: Tensor

    def __init__(
        self,
        mask: Tensor,
        slope: float | Tensor = 0.4,
        intercept: float | Tensor = 0.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if mask.dtype != torch.bool:
            raise MaskError(f"a graft mask is boolean, not {mask.dtype}")
        self.register_buffer("mask", mask.clone())
        self.slope = _parameter("slope", slope, mask, dtype)
        self.intercept = _parameter("intercept", intercept, mask, dtype)

    def forward(self, z: Tensor) -> Tensor:
        """`(batch, *neurons)` to the same shape.

        Raises:
            MaskError: the neurons have another shape than the mask.
        """
        if not torch.jit.is_tracing() and z.shape[1:] != self.mask.shape:  # traced shapes are no numbers
            raise MaskError(f"a graft mask of shape {tuple(self.mask.shape)} on neurons of shape {tuple(z.shape[1:])}")
        return self._fused(z) if is_fusible(z, self.slope, self.intercept) else self._plain(z)

    def _plain(self, z: Tensor) -> Tensor:
        """(b + a·z) + k·max(z, 0), with k = 1 for the ReLUs: cheaper than a selection by booleans."""
        slope = torch.where(self.mask, self.slope, 0.0).to(z.dtype)
        intercept = torch.where(self.mask, self.intercept, 0.0).to(z.dtype)
        kept = self.mask.logical_not().to(z.dtype)
        return (slope * z).add_(intercept).addcmul_(kept, z.relu())

    def _fused(self, z: Tensor) -> Tensor:
        wide = z.dim() == 4 and z.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if wide else torch.contiguous_format
        lines = (
            torch.where(self.mask, self.slope, 1.0),
            torch.where(self.mask, self.intercept, 0.0),
            torch.where(self.mask, -torch.inf, 0.0),
        )
        return grafted_relu(z, *(line[None].to(z.dtype, memory_format=layout) for line in lines))

    def extra_repr(self) -> str:
        return f"{int(self.mask.sum())} of {self.mask.numel()} neurons linear"


def _parameter(what: str, value: float | Tensor, mask: Tensor, dtype: torch.dtype | None) -> nn.Parameter:
    """A learnable tensor of the mask's shape and device."""
    initial = torch.as_tensor(value, dtype=dtype or torch.get_default_dtype(), device=mask.device).detach()
    if initial.dim() and initial.shape != mask.shape:
        raise MaskError(f"the {what} of shape {tuple(initial.shape)} does not fit a mask of shape {tuple(mask.shape)}")
    return nn.Parameter(initial.expand(mask.shape).clone())
