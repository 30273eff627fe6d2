"""The stages of the cascade: each decides the open instances that it can, cheapest stage first."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from abcrown_graft.attack.pgd import pgd_attack
from abcrown_graft.bounds.literals import literal_lower_bounds
from abcrown_graft.bounds.propagate import NetworkBounds
from abcrown_graft.verdict import Verdict
from abcrown_graft.verify.points import fools_alone, inside_box
from abcrown_graft.verify.problem import Batch, VerifySettings

Stage = Callable[[Batch], None]


class Recorder(Protocol):
    """A stage that only watches; `after_bounds` says whether it follows the incomplete stage."""

    after_bounds: bool

    def __call__(self, batch: Batch) -> None:
        """Takes what it needs from the batch."""


def clean_prediction(batch: Batch) -> None:
    """A clean image that violates its property is a counterexample (α,β-CROWN says `unsafe-pgd` too)."""
    with batch.shared_time() as positions:
        batch.predicted = batch.outputs.argmax(1)
        margins = batch.specification.margins(batch.outputs)
        for k in positions:
            if not torch.isfinite(batch.outputs[k]).all():
                batch.decide(k, Verdict.ERROR, "error", "the model's output on the clean image is NaN or infinite")
                continue
            batch.margin[k] = float(margins[k])
            if margins[k] <= 0 and fools_alone(batch, k, batch.inputs[k]):
                batch.counterexamples[k] = batch.inputs[k]
                batch.decide(k, Verdict.FALSIFIED, "unsafe-pgd")


def attack(batch: Batch) -> None:
    """PGD on the graph; what it finds counts only if the original model agrees."""
    assert batch.settings.attack is not None
    with batch.shared_time() as positions:
        if not positions:
            return
        at = torch.tensor(positions)
        seeds = [batch.settings.seed + 7919 * batch.cases[k].index for k in positions]
        found = pgd_attack(batch.subject.network, batch.approximate[at], batch.settings.attack, seeds, batch.late)
        points = inside_box(batch, positions, found.points)
        with torch.no_grad():
            margins = batch.specification[at].margins(batch.subject.module(points))
        for row, k in enumerate(positions):
            batch.margin[k] = min(batch.margin[k], float(margins[row]))
            if margins[row] <= 0 and fools_alone(batch, k, points[row]):
                batch.counterexamples[k] = points[row]
                batch.decide(k, Verdict.FALSIFIED, "unsafe-pgd")


def incomplete(batch: Batch) -> None:
    """Interval bounds, then CROWN; a proof counts only if it is float64's.

    On a CPU, where a search follows, CROWN runs in float64 alone: what it leaves open needs these bounds for its core.
    Instances whose time is over meanwhile stay open, for the complete stage to say so.
    """
    for method in ("interval", "crown") if batch.settings.method == "crown" else ("interval",):
        with batch.shared_time() as positions:
            if positions:
                _prove(batch, positions, method)


def _prove(batch: Batch, positions: list[int], method: str) -> None:
    found, promising = {}, positions
    if method == "interval" or batch.settings.search is None or batch.inputs.is_cuda:
        specification = batch.approximate[torch.tensor(positions)]
        bounds = batch.bounds(positions, method, raise_if_late=batch.raise_if_late)
        lower = literal_lower_bounds(bounds, specification, method).amax(2).amin(1)
        found = dict(zip(positions, lower.tolist(), strict=True))
        promising = [k for k in positions if found[k] > 0]
    proved = confirmed_margins(batch, promising, method).tolist() if promising else []
    # A positive bound in search precision is replaced by what float64 makes of it.
    for k, lower in {**found, **dict(zip(promising, proved, strict=True))}.items():
        if not math.isfinite(lower):
            continue
        batch.lower_bound[k] = max(batch.lower_bound.get(k, -math.inf), lower)
        if k in promising and lower > 0:
            batch.decide(k, Verdict.VERIFIED, "safe-incomplete")


def confirmed_margins(batch: Batch, positions: list[int], method: str) -> Tensor:
    """Smallest clauses `(k,)` in float64 with the rounding error taken off: they hold in real arithmetic."""
    _, clauses = rigorous_bounds(batch, positions, method, batch.raise_if_late)
    return torch.where(torch.isfinite(clauses).all(1), clauses.amin(1), -math.inf)


def rigorous_bounds(
    batch: Batch, positions: list[int], method: str, raise_if_late: Callable[[], None] = lambda: None
) -> tuple[NetworkBounds, Tensor]:
    """Bounds in float64 that hold in real arithmetic: of the networks, and of the clauses `(k, clauses)`."""
    bounds = batch.bounds(positions, method, rigorous=True, raise_if_late=raise_if_late)
    with torch.backends.cudnn.flags(enabled=False):
        return bounds, literal_lower_bounds(bounds, batch.specification[torch.tensor(positions)], method).amax(2)


def cascade(settings: VerifySettings, recorder: Recorder | None = None) -> tuple[Stage, ...]:
    """The stages in order, with the recording of instability where its population is known.

    What they leave open is for `complete.decide_open`, instance by instance.
    """
    chosen: list[Stage] = [clean_prediction]
    if settings.attack is not None:
        chosen.append(attack)
    if recorder is not None and not recorder.after_bounds:
        chosen.append(recorder)
    if settings.incomplete:
        chosen.append(incomplete)
    if recorder is not None and recorder.after_bounds:
        chosen.append(recorder)
    return tuple(chosen)
