"""Which input to halve next: rules, two of them with α,β-CROWN's names and options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from abcrown_graft.search.box_task import Lines


@dataclass(frozen=True)
class InputBranching:
    """How to choose the input.

    Attributes:
        method: a name of `INPUT_BRANCHING`.
        sb_margin_weight, sb_coeff_thresh, sb_sum: α,β-CROWN's options of `sb` (`bab.branching.input_split`): how much a
            literal's bound weighs, what smaller coefficients count as, and whether the scores of all open literals
            are added, without their bounds.
    """

    method: str = "smear"
    sb_margin_weight: float = 1.0
    sb_coeff_thresh: float = 1e-3
    sb_sum: bool = False


InputRule = Callable[[Tensor, Lines, Tensor, InputBranching], Tensor]
"""From widths `(n, inputs)`, what is known of the literals, the clauses `(n, clauses)` (positive where they are proved)
and settings to scores `(n, inputs)`; the input of the largest score is halved."""


def longest_side(width: Tensor, found: Lines, clauses: Tensor, settings: InputBranching) -> Tensor:
    """The width.

    Args:
        width, found, clauses, settings: see `InputRule`.
    """
    return width


def largest_influence(width: Tensor, found: Lines, clauses: Tensor, settings: InputBranching) -> Tensor:
    """How much the hardest clause can vary along the input: its largest derivative times the width.

    Wang et al. 2018, "Formal security analysis of neural networks using symbolic intervals", section 4.3. Unlike the
    slope of the bounding line, it does not vanish around a minimum, where the relaxation gives away most.

    Args:
        width, found, clauses, settings: see `InputRule`.
    """
    return of_clause(found.steepest, hardest(clauses)).amax(1) * width


def smart_branching(width: Tensor, found: Lines, clauses: Tensor, settings: InputBranching) -> Tensor:
    """How much the line below a literal varies along the input, |a| (u - l) / 2.

    The bound is added, so that in a clause of several literals those weigh most that are nearest to a proof.
    α,β-CROWN's rule of this name, which knows boxes of a single clause; here, the hardest one counts.

    Args:
        width, found, clauses, settings: see `InputRule`.
    """
    varies = found.coefficients.abs().nan_to_num().clamp(min=settings.sb_coeff_thresh) * width[:, None, None] / 2
    if settings.sb_sum:
        return (varies * (clauses <= 0)[:, :, None, None]).sum((1, 2))
    near = settings.sb_margin_weight * torch.where(found.lower.isfinite(), found.lower, 0).unsqueeze(3)
    return of_clause(varies + near, hardest(clauses)).amax(1)


def hardest(clauses: Tensor) -> Tensor:
    """The clause of the smallest bound in each box, `(n,)`."""
    return clauses.argmin(1)


def of_clause(values: Tensor, clause: Tensor) -> Tensor:
    """What belongs to one clause of each box: of `(n, clauses, ...)`, `(n, ...)`."""
    return values[torch.arange(len(values), device=values.device), clause]
