"""How much each neuron matters to the loss: r_s, by a heuristic summed over images."""

from __future__ import annotations

import torch
from torch import Tensor

from abcrown_graft.errors import DataError
from abcrown_graft.masks.options import HEURISTICS
from abcrown_graft.masks.statistics import total
from abcrown_graft.network.graph import Network


def significance(
    network: Network,
    images: Tensor,
    labels: Tensor,
    method: str = "gradient",
    batch_size: int = 100,
    epsilon: float | None = None,
) -> dict[str, Tensor]:
    """Scores of every neuron by site, float64 of the site's shape.

    Args:
        network: takes the images as they are (pixels, with normalisation in front).
        images, labels: `(n, *shape)` and `(n,)`.
        method: a name in `HEURISTICS`.
        batch_size: images in one pass; the result does not depend on it (up to rounding).
        epsilon: radius of the perturbation in pixels of [0, 1], for the method "interval".

    Raises:
        DataError: there are no images, or a score is not finite.
        ConfigError: unknown method, or one that needs a radius and has none.
    """
    statistic, combine = HEURISTICS[method]
    if not len(images):
        raise DataError("significance needs at least one image")
    parts = zip(images.split(batch_size), labels.split(batch_size), strict=True)
    sums = total(statistic(network, *part, epsilon) for part in parts)
    scores = {site: combine(len(images), *found).cpu() for site, found in sums.items()}
    for site, score in scores.items():
        if not bool(torch.isfinite(score).all()):
            raise DataError(f"significance ({method}): NaN or infinite scores at site {site!r}")
    return scores
