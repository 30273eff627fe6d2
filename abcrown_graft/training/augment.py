"""Augmentations of image batches `(batch, channels, height, width)`, by name, drawn from a given generator."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Augmentation = Callable[[Tensor, torch.Generator], Tensor]

PADDING = 4


def leave(images: Tensor, generator: torch.Generator) -> Tensor:
    """The images as they are."""
    return images


def crop_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image padded by 4 black pixels, cropped back at random, and mirrored left-right half of the time."""
    batch, _, height, width = images.shape
    corner = torch.randint(0, 2 * PADDING + 1, (2, batch, 1), generator=generator, device=generator.device)
    mirrored = torch.randint(0, 2, (batch, 1), generator=generator, device=generator.device).bool()
    rows = corner[0] + torch.arange(height, device=corner.device)
    columns = corner[1] + torch.arange(width, device=corner.device)
    columns = torch.where(mirrored, columns.flip(1), columns)
    return _gather(F.pad(images, (PADDING,) * 4), rows.to(images.device), columns.to(images.device))


def _gather(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Per image the pixels at `rows` (batch, height) times `columns` (batch, width)."""
    which = torch.arange(len(images), device=images.device)
    picked = images[which[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2).contiguous()
