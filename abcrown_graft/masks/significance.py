"""How much each neuron matters to the loss: r_s, from statistics of its pre-activation z.

Means over images of |dL/dz| ("gradient", GAP), |z| ("magnitude", SAP), or the variance of z over the
images ("variance"). L is the cross-entropy of the clean image. Source: Chen et al. 2022, section 3.3;
variance: Brandis 2023.

"interval" is minus the mean weighted-interval score (`interval_score`): neurons of small r_s are grafted first, and
these shall be the ones whose relaxation costs most. Scores that are learned are made in `learned`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from abcrown_graft.errors import DataError
from abcrown_graft.masks.interval_score import weighted_widths
from abcrown_graft.masks.statistics import Sums, total
from abcrown_graft.network.forward import pre_activations
from abcrown_graft.network.graph import Network
from abcrown_graft.registry import Registry

Statistic = Callable[[Network, Tensor, Tensor, float | None], Sums]
"""Sums over a batch, by site: what a heuristic needs to accumulate. Takes network, images, labels and ε, if known."""

HEURISTICS: Registry[tuple[Statistic, Callable[..., Tensor]]] = Registry("significance heuristic")


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


def _gradient(network: Network, images: Tensor, labels: Tensor, epsilon: float | None) -> dict[str, tuple[Tensor, ...]]:
    images = images.detach().requires_grad_(True)
    outputs, inputs = pre_activations(network, images)
    loss = functional.cross_entropy(outputs, labels, reduction="sum")
    gradients = torch.autograd.grad(loss, list(inputs.values()))
    return {site: (g.double().abs().sum(0),) for site, g in zip(inputs, gradients, strict=True)}


@torch.no_grad()
def _magnitude(
    network: Network, images: Tensor, labels: Tensor, epsilon: float | None
) -> dict[str, tuple[Tensor, ...]]:
    _, inputs = pre_activations(network, images)
    return {site: (z.double().abs().sum(0),) for site, z in inputs.items()}


@torch.no_grad()
def _moments(network: Network, images: Tensor, labels: Tensor, epsilon: float | None) -> dict[str, tuple[Tensor, ...]]:
    _, inputs = pre_activations(network, images)
    return {site: (z.double().sum(0), z.double().square().sum(0)) for site, z in inputs.items()}


def _mean(n: int, total: Tensor) -> Tensor:
    return total / n


def _minus_mean(n: int, total: Tensor) -> Tensor:
    return (0 - total) / n


def _variance(n: int, total: Tensor, squares: Tensor) -> Tensor:
    return (squares / n - (total / n).square()).clamp(min=0)


HEURISTICS.register("gradient")((_gradient, _mean))
HEURISTICS.register("magnitude")((_magnitude, _mean))
HEURISTICS.register("variance")((_moments, _variance))
HEURISTICS.register("interval")((weighted_widths, _minus_mean))
