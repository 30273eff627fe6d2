"""Keeps α,β-CROWN's branching to the neurons that may be split.

Its heuristics give the others the score 0 and take the largest scores. Where the scores themselves can be negative, as
in `nonlinear` (BBPS), grafted and stable neurons would win, and splits that change nothing would go on for ever.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import torch
from heuristics.base import NeuronBranchingHeuristic
from torch import Tensor

Scores = Mapping[str, Tensor]


def split_unstable_only() -> None:
    """Has every heuristic of this process prefer any neuron that may be split to all others; any number of times."""
    choose = NeuronBranchingHeuristic.find_topk_scores
    if hasattr(choose, "__wrapped__"):
        return

    @functools.wraps(choose)
    def restricted(self: Any, layer_scores: Scores, split_masks: Scores, k: int, **options: Any) -> Any:
        return choose(self, positive_scores(layer_scores, split_masks), split_masks, k, **options)

    NeuronBranchingHeuristic.find_topk_scores = restricted


def positive_scores(scores: Scores, masks: Scores) -> dict[str, Tensor]:
    """The scores, moved up where needed so that those of neurons that may be split are positive; the order stays.

    Args:
        scores: by layer, `(batch, neurons)`.
        masks: by layer, of that shape, nonzero for neurons that may be split.

    Returns:
        Scores for the same layers. A subproblem whose scores are all positive keeps them as they are.
    """
    inside = {name: masks[name].reshape(score.shape) != 0 for name, score in scores.items()}
    lowest = _extreme(scores, inside, torch.inf).amin(1, keepdim=True)
    highest = _extreme(scores, inside, -torch.inf).amax(1, keepdim=True)
    gap = 1e-6 * (highest - lowest) + 1e-10
    moved = {name: inside[name] & (lowest <= 0) & torch.isfinite(lowest) for name in scores}
    return {name: torch.where(moved[name], (score - lowest) + gap, score) for name, score in scores.items()}


def _extreme(scores: Scores, inside: Scores, otherwise: float) -> Tensor:
    """All scores side by side, those of neurons that may not be split replaced."""
    return torch.cat([torch.where(inside[name], score, otherwise) for name, score in scores.items()], dim=1)
