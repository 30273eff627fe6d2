"""Selects whole channels: the neurons of a convolution's channel are grafted together or not at all.

A *unit* is a channel of a site of three axes `(channels, height, width)`, or a neuron of any other site. Its criterion
is the mean of its neurons' criteria. Within a stage units are taken in descending order of it (of equal ones the
earlier) while they fit into what the stages so far may take; what is left over is taken by the next stage. At the end
units that are too large are passed over, and if that leaves a gap, the smallest unit closes it where overshooting
misses the target by less than falling short would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from abcrown_graft.masks.presets import Stage


@dataclass(frozen=True, eq=False)
class Units:
    """Which neurons are grafted together.

    Attributes:
        owner: number of each neuron's unit, `(neurons,)`.
        size: neurons of each unit, `(units,)`.
        site: number of each unit's site, `(units,)`.
    """

    owner: np.ndarray
    size: np.ndarray
    site: np.ndarray

    def mean(self, values: np.ndarray) -> np.ndarray:
        """The mean over each unit's neurons, `(units,)`, of `values` `(neurons,)`."""
        return np.bincount(self.owner, weights=values, minlength=len(self.size)) / self.size


def channel_units(shapes: Sequence[tuple[int, ...]]) -> Units:
    """The units of some sites in forward order; sites without neurons have none."""
    owners: list[np.ndarray] = []
    sizes: list[np.ndarray] = []
    sites: list[np.ndarray] = []
    for number, shape in enumerate(shapes):
        neurons = int(np.prod(shape, dtype=np.int64))
        count = (shape[0] if neurons else 0) if len(shape) == 3 else neurons
        each = neurons // count if count else 0
        owners.append(np.repeat(np.arange(count, dtype=np.int64), each) + sum(map(len, sizes)))
        sizes.append(np.full(count, each, dtype=np.int64))
        sites.append(np.full(count, number, dtype=np.int64))
    none = np.zeros(0, dtype=np.int64)
    return Units(*(np.concatenate([none, *parts]) for parts in (owners, sizes, sites)))


def take_units(stages: Sequence[Stage], scores: Sequence[np.ndarray], units: Units, room: Sequence[int]) -> np.ndarray:
    """The neurons `(neurons,)` of the units that the stages take.

    Args:
        stages: their counts are of neurons.
        scores: r_u, r_s and the chance, each `(neurons,)`.
        units: of the same neurons.
        room: how many neurons each site may give at most.
    """
    r_u, r_s, chance = (units.mean(part) for part in scores)
    selection, goal = _Selection(units, room), 0
    for number, stage in enumerate(stages, start=1):
        goal += stage.count
        order = np.argsort(-(stage.instability * r_u - stage.significance * r_s + stage.chance * chance), kind="stable")
        selection.fill(order, goal, pass_over=number == len(stages))
    selection.close(order, goal)
    return selection.taken[units.owner]


class _Selection:
    """The units taken so far."""

    def __init__(self, units: Units, room: Sequence[int]) -> None:
        self.units, self.left = units, np.array(room, dtype=np.int64)
        self.taken, self.count = np.zeros(len(units.size), dtype=bool), 0

    def fill(self, order: np.ndarray, goal: int, pass_over: bool) -> None:
        """Takes units in order up to `goal` neurons; the first that is too large ends it, or is passed over."""
        for unit in order:
            if self.count == goal:
                return
            if self._is_free(unit):
                if self.count + self.units.size[unit] <= goal:
                    self._take(unit)
                elif not pass_over:
                    return

    def close(self, order: np.ndarray, goal: int) -> None:
        """Overshoots `goal` by the smallest unit, the first in order of its size, if that is nearer."""
        gap = goal - self.count
        free = [unit for unit in order if self._is_free(unit)]
        if gap and free:
            smallest = min(free, key=lambda unit: self.units.size[unit])
            if self.units.size[smallest] - gap < gap:
                self._take(smallest)

    def _is_free(self, unit: int) -> bool:
        return not self.taken[unit] and self.units.size[unit] <= self.left[self.units.site[unit]]

    def _take(self, unit: int) -> None:
        self.taken[unit] = True
        self.count += int(self.units.size[unit])
        self.left[self.units.site[unit]] -= self.units.size[unit]
