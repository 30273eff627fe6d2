"""The open subproblems of a search."""

from __future__ import annotations

from dataclasses import replace

import torch

from abcrown_graft.core.core import Core
from abcrown_graft.core.dual import Duals, Optimized, slices


class Frontier:
    """A stack of batches: the deepest subproblems come first, among them those of the smallest bound."""

    def __init__(self) -> None:
        self._parts: list[Optimized] = []

    def __bool__(self) -> bool:
        return bool(self._parts)

    @property
    def lowest(self) -> float:
        """The smallest bound, -inf if one is NaN; infinite if nothing is open."""
        known = (torch.where(part.lower.isnan(), -torch.inf, part.lower) for part in self._parts)
        return min((float(lower.min()) for lower in known), default=float("inf"))

    def push(self, found: Optimized) -> None:
        """Adds subproblems, without the tensors over inputs: thousands of subproblems wait."""
        if len(found.lower):
            ordered = found[found.lower.argsort(descending=True)]
            bound = replace(ordered.bound, at_input=ordered.bound.at_input[:0])
            self._parts.append(replace(ordered, inputs=ordered.inputs[:0], bound=bound))

    def take(self, room: int) -> Optimized:
        """Removes the next subproblems, `room` at most."""
        parts = []
        while self._parts and room > 0:
            part = self._parts.pop()
            if len(part.lower) > room:
                keep = len(part.lower) - room
                self._parts.append(part[:keep])
                part = part[keep:]
            parts.append(part)
            room -= len(part.lower)
        return Optimized.cat(parts)


def carried_over(duals: Duals, old: Core, new: Core) -> Duals:
    """The subproblems of a core as those of one that has lost neurons: splits of these are forgotten.

    Args:
        duals: of the old core.
        old: the core.
        new: the same without some of its neurons.
    """
    kept = {layer.site: layer.neurons for layer in new.layers}
    rows = [
        torch.arange(rows.start, rows.stop, device=layer.neurons.device)[torch.isin(layer.neurons, kept[layer.site])]
        for layer, rows in zip(old.layers, slices(old), strict=True)
        if layer.site in kept
    ]
    at = torch.cat(rows) if rows else torch.arange(0, device=duals.mix.device)
    return Duals(duals.mix, duals.split[at], duals.slack[at])
