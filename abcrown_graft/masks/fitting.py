"""Lines that grafted neurons can start from: the least-squares line of each ReLU over images.

Of all lines a·z + b it is the one with the least mean square of max(z, 0) − (a·z + b), so a neuron that is mostly
inactive starts near 0, one that is mostly active near the identity, and tuning has less damage to mend.
"""

from __future__ import annotations

import torch
from torch import Tensor

from abcrown_graft.errors import DataError
from abcrown_graft.masks.statistics import Sums, total
from abcrown_graft.network.forward import pre_activations
from abcrown_graft.network.graph import Network

CONSTANT = 1e-12  # a variance up to this share of the mean square is rounding: such a neuron has no slope


@torch.no_grad()
def fitted_lines(
    network: Network, images: Tensor, batch_size: int = 100
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Slopes and intercepts of every neuron by site, float64 of the site's shape; slopes lie in [0, 1].

    Args:
        network: the plain one; takes the images as they are (pixels, with normalisation in front).
        images: `(n, *shape)`.
        batch_size: images in one pass; the result does not depend on it (up to rounding).

    Raises:
        DataError: there are no images, or a line is not finite.
    """
    if not len(images):
        raise DataError("lines are fitted to at least one image")
    sums = total(_sums(network, part) for part in images.split(batch_size))
    lines = {site: _line(*((found / len(images)).cpu() for found in totals)) for site, totals in sums.items()}
    for site, line in lines.items():
        if not all(bool(values.isfinite().all()) for values in line):
            raise DataError(f"fitted lines: NaN or infinite values at site {site!r}")
    return {site: slope for site, (slope, _) in lines.items()}, {site: shift for site, (_, shift) in lines.items()}


def _sums(network: Network, images: Tensor) -> Sums:
    """By site, sums over the images of z, z², max(z, 0) and z·max(z, 0), which is max(z, 0)²."""
    _, inputs = pre_activations(network, images)
    pairs = {site: (z.double(), z.double().relu()) for site, z in inputs.items()}
    return {site: tuple(t.sum(0) for t in (z, z * z, y, y * y)) for site, (z, y) in pairs.items()}


def _line(z: Tensor, zz: Tensor, y: Tensor, zy: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and intercept from the means."""
    variance, covariance = zz - z * z, zy - z * y
    slope = torch.where(variance > CONSTANT * zz, covariance / variance, 0.0).clamp(0, 1)
    return slope, y - slope * z
