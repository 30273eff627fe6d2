"""Projected gradient descent against the clauses of a property, with restarts that share them out.

Madry et al. 2018, "Towards deep learning models resistant to adversarial attacks". The first
start goes for the smallest clause; the others take the clauses in turn, the likeliest first. Every
clause is tried: if `restarts` is too small for that, there is one more start than there are clauses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from abcrown_graft.geometry.box import Box
from abcrown_graft.geometry.specification import Specification
from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.graph import Network

COMPACT_EVERY = 10
STARTS_PER_ROUND = 8
SEED_STRIDE = 1_000_003


@dataclass(frozen=True)
class PGDSettings:
    """Names and defaults are α,β-CROWN's (section `attack`).

    Attributes:
        steps: gradient steps per start.
        restarts: random starts per image; raised to the number of clauses plus one.
        alpha: length of a step; None ("auto") is a quarter of the box's half-width.
        lr_decay: factor on the step size after each step.
        batch_size: largest number of points in one forward pass.
        early_stop: leave an image alone once it is fooled.
    """

    steps: int = 100
    restarts: int = 30
    alpha: float | None = None
    lr_decay: float = 0.99
    batch_size: int = 4096
    early_stop: bool = True


@dataclass(frozen=True, eq=False)
class AttackResult:
    """The point of smallest margin (smallest clause) per image `(batch, *shape)`, and that margin `(batch,)`."""

    points: Tensor
    margins: Tensor


def pgd_attack(
    network: Network,
    specification: Specification,
    settings: PGDSettings,
    seeds: Sequence[int],
    stop: Callable[[], bool] = lambda: False,
) -> AttackResult:
    """Tries to make a clause non-positive for each image.

    Args:
        network: in the precision and on the device of the specification.
        specification: of the images.
        settings: effort.
        seeds: one number per image; its random starts depend on nothing else, so a result does
            not depend on which images share the batch.
        stop: asked before every step; ends the attack with what it has found so far.
    """
    box, clauses = specification.box, specification.rows.shape[1]
    best = _Best(network, specification)
    first = best.points.clone()
    best.update(torch.arange(len(box), device=first.device), first)
    _round(network, specification, settings, best, _starts(box, seeds, 1), None, stop)
    starts = max(settings.restarts - 1, clauses)
    ranking = best.ranking
    for begin in range(0, starts, STARTS_PER_ROUND):
        if stop():
            break
        chunk = range(begin, min(begin + STARTS_PER_ROUND, starts))
        noise = _starts(box, [seed + (begin + 1) * SEED_STRIDE for seed in seeds], len(chunk))
        ranks = torch.tensor([k % clauses for k in chunk], device=first.device)
        _round(network, specification, settings, best, noise, ranking[:, ranks], stop)
    return AttackResult(best.points, best.margins)


class _Best:
    """The worst point seen per image."""

    def __init__(self, network: Network, specification: Specification) -> None:
        self.network, self.specification, box = network, specification, specification.box
        self.points = (box.lower + box.upper) / 2
        self.margins = box.lower.new_full((len(box),), float("inf"))
        with torch.no_grad():
            clean = specification.values(evaluate(network, self.points).unsqueeze(1)).squeeze(1)
        self.ranking = clean.argsort(dim=1)

    def update(self, images: Tensor, points: Tensor, margins: Tensor | None = None) -> None:
        """Takes in points `(k, *shape)` of the given images `(k,)`, each at most once."""
        if margins is None:
            with torch.no_grad():
                outputs = evaluate(self.network, points).unsqueeze(1)
            margins = self.specification[images].values(outputs).squeeze(1).amin(1)
        better = margins < self.margins[images]
        self.margins[images[better]] = margins[better]
        self.points[images[better]] = points[better]


def _starts(box: Box, seeds: Sequence[int], count: int) -> Tensor:
    """Uniform random points `(batch, count, *shape)`, each image's from its own seed."""
    noise = [
        torch.rand(count, *box.lower.shape[1:], generator=torch.Generator().manual_seed(int(seed) % 2**63))
        for seed in seeds
    ]
    uniform = torch.stack(noise).to(box.lower)
    return box.lower.unsqueeze(1) + (box.upper - box.lower).unsqueeze(1) * uniform


def _round(
    network: Network,
    specification: Specification,
    settings: PGDSettings,
    best: _Best,
    starts: Tensor,
    target_rank: Tensor | None,
    stop: Callable[[], bool],
) -> None:
    """One start per entry of `starts` for all images that are not fooled, in chunks of bounded size."""
    every = torch.ones_like(best.margins, dtype=torch.bool)
    open_images = (best.margins > 0 if settings.early_stop else every).nonzero().flatten()
    per_chunk = max(1, settings.batch_size // starts.shape[1])
    for images in open_images.split(per_chunk):
        targets = None if target_rank is None else target_rank[images]
        _descend(network, specification[images], settings, best, images, starts[images], targets, stop)


def _descend(
    network: Network,
    specification: Specification,
    settings: PGDSettings,
    best: _Best,
    images: Tensor,
    points: Tensor,
    targets: Tensor | None,
    stop: Callable[[], bool],
) -> None:
    """Signed-gradient descent from `points` `(k, starts, *shape)` of `images` `(k,)` and their specification.

    `targets` `(k, starts)` names the clause to lower; without it, the smallest one.
    """
    box = specification.box
    size = (box.upper - box.lower) / 8 if settings.alpha is None else torch.full_like(box.lower, settings.alpha)
    for step in range(settings.steps + 1):
        if stop():
            return
        x = points.flatten(0, 1).requires_grad_(step < settings.steps)
        with torch.set_grad_enabled(step < settings.steps):
            outputs = evaluate(network, x).unflatten(0, points.shape[:2])
            clauses = specification.values(outputs)
            lowest = clauses.amin(2)
            chosen = lowest if targets is None else clauses.gather(2, targets.unsqueeze(2)).squeeze(2)
            gradient = torch.autograd.grad(chosen.sum(), x)[0] if step < settings.steps else None
        worst = lowest.detach().argmin(1)
        at = torch.arange(len(images), device=images.device)
        best.update(images, points.detach()[at, worst], lowest.detach()[at, worst])
        if gradient is None:
            return
        decayed = size.unsqueeze(1) * settings.lr_decay**step
        moved = points.detach() - decayed * gradient.sign().view_as(points)
        points = torch.minimum(torch.maximum(moved, box.lower.unsqueeze(1)), box.upper.unsqueeze(1))
        if settings.early_stop and (step + 1) % COMPACT_EVERY == 0:
            going = best.margins[images] > 0
            images, points, size = images[going], points[going], size[going]
            specification, box = specification[going], box[going]
            targets = targets[going] if targets is not None else None
            if not len(images):
                return
