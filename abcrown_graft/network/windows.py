"""Coefficients of convolutional neurons, on their receptive fields only.

A neuron of an early convolution depends on a small window of each earlier map, so its coefficients
are kept as that window and its position. A window that has outgrown its map is cut to the map. Rows
are (image, neuron) pairs, so images with different numbers of interesting neurons share a pass.

α,β-CROWN calls the idea patches mode (Xu et al. 2020, appendix).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Windows:
    """Coefficients of linear functions of a map, non-zero in one window per row.

    Attributes:
        values: `(rows, channels, h, w)`; zero where the window leaves the map.
        place: where each row's window lies, a number of an image and a position, `(rows,)`.
        image: which image of the batch, `(places,)`.
        top, left: position of the window's first entry in the map, `(places,)`; may be negative.
        shape: of the map, `(channels, height, width)`.
    """

    values: Tensor
    place: Tensor
    image: Tensor
    top: Tensor
    left: Tensor
    shape: tuple[int, ...]

    def rows_of_map(self) -> Tensor:
        """Row of the map that each window row lies on, `(places, h)`."""
        return self.top.unsqueeze(1) + torch.arange(self.values.shape[2], device=self.top.device)

    def columns_of_map(self) -> Tensor:
        """Column of the map that each window column lies on, `(places, w)`."""
        return self.left.unsqueeze(1) + torch.arange(self.values.shape[3], device=self.left.device)

    def trimmed(self) -> Windows:
        """Zero outside the map, and no larger than the map."""
        _, height, width = self.shape
        i, j = self.rows_of_map(), self.columns_of_map()
        if self.values.shape[2] * self.values.shape[3] >= height * width:
            return self.whole()
        inside = ((i >= 0) & (i < height)).unsqueeze(2) & ((j >= 0) & (j < width)).unsqueeze(1)
        return self if bool(inside.all()) else replace(self, values=self.values * inside[self.place].unsqueeze(1))

    def whole(self) -> Windows:
        """The same functions with the whole map as the window."""
        rows, channels, h, w = self.values.shape
        _, height, width = self.shape
        i = torch.arange(height, device=self.top.device) - self.top.unsqueeze(1)
        j = torch.arange(width, device=self.top.device) - self.left.unsqueeze(1)
        inside = ((i >= 0) & (i < h)).unsqueeze(2) & ((j >= 0) & (j < w)).unsqueeze(1)
        at = (i.clamp(0, h - 1).unsqueeze(2) * w + j.clamp(0, w - 1).unsqueeze(1)).flatten(1)
        at = at[self.place].unsqueeze(1).expand(rows, channels, height * width)
        values = self.values.flatten(2).gather(2, at).view(rows, channels, height, width)
        values = values * inside[self.place].unsqueeze(1)
        zero = torch.zeros_like(self.top)
        return replace(self, values=values, top=zero, left=zero)

    def positions(self) -> Tensor:
        """Index of each entry of the places in a flattened `(batch, *shape)` tensor, `(places, channels, h, w)`.

        Entries outside the map point somewhere inside.
        """
        channels, height, width = self.shape
        i, j = self.rows_of_map().clamp(0, height - 1), self.columns_of_map().clamp(0, width - 1)
        plane = i.unsqueeze(2) * width + j.unsqueeze(1)
        start = self.image.unsqueeze(1) * channels + torch.arange(channels, device=self.image.device)
        return start[:, :, None, None] * (height * width) + plane.unsqueeze(1)

    def look_up(self, values: Tensor) -> Tensor:
        """What a `(batch, *shape)` tensor holds where the windows lie, `(rows, channels, h, w)`."""
        return values.take(self.positions())[self.place]

    def moved(self, values: Tensor, stride: Pair, padding: Pair, shape: tuple[int, ...]) -> Windows:
        """Windows of other values where a kernel of this stride and padding reads them, on a map of another shape."""
        top, left = self.top * stride[0] - padding[0], self.left * stride[1] - padding[1]
        return replace(self, values=values, top=top, left=left, shape=shape).trimmed()

    def __add__(self, other: Windows) -> Windows:
        down, right = other.top - self.top, other.left - self.left
        if not bool((down == down[0]).all() and (right == right[0]).all()):
            first, second = self.whole(), other.whole()
            return replace(first, values=first.values + second.values)
        return _overlaid(self, other, int(down[0]), int(right[0]))


def _overlaid(first: Windows, second: Windows, down: int, right: int) -> Windows:
    """The sum of two windows of which the second lies `down` and `right` of the first in every row."""
    above, before = min(down, 0), min(right, 0)
    below = max(first.values.shape[2], down + second.values.shape[2])
    after = max(first.values.shape[3], right + second.values.shape[3])
    total: Tensor | int = 0
    for part, i, j in ((first, 0, 0), (second, down, right)):
        h, w = part.values.shape[2:]
        total = total + functional.pad(part.values, (j - before, after - j - w, i - above, below - i - h))
    assert isinstance(total, Tensor)
    return replace(first, values=total, top=first.top + above, left=first.left + before)


def grown(h: int, w: int, kernel: Sequence[int], stride: Pair, dilation: Pair) -> Pair:
    """Size of the window that a kernel reads for a window `(h, w)` of its output."""
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    return (h - 1) * stride[0] + reach[0], (w - 1) * stride[1] + reach[1]
