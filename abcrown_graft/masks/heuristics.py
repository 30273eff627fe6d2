"""What says how much each neuron matters to the loss: statistics of its pre-activation z.

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

from abcrown_graft.masks.interval_score import weighted_widths
from abcrown_graft.masks.statistics import Sums
from abcrown_graft.network.forward import pre_activations
from abcrown_graft.network.graph import Network

Statistic = Callable[[Network, Tensor, Tensor, float | None], Sums]
"""Sums over a batch, by site: what a heuristic needs to accumulate. Takes network, images, labels and ε, if known."""

Heuristic = tuple[Statistic, Callable[..., Tensor]]
"""A statistic, and what makes a site's score of the number of images and the sums."""


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


GRADIENT: Heuristic = (_gradient, _mean)
MAGNITUDE: Heuristic = (_magnitude, _mean)
VARIANCE: Heuristic = (_moments, _variance)
INTERVAL: Heuristic = (weighted_widths, _minus_mean)
