"""Presets: in which stages, and by which criterion each, neurons are chosen for grafting.

A stage takes, among the neurons that no earlier stage took, the `count` ones with the largest

    instability · r_u − significance · r_s + chance · U(0, 1)

The paper (Chen et al. 2022, arXiv 2206.07839) uses γ·r_u − r_s, that is `instability` = γ and
`significance` = 1, with γ falling from 2 to 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from abcrown_graft.registry import Registry


@dataclass(frozen=True)
class Stage:
    """How many neurons one stage takes, and the weights of its criterion (see the module)."""

    count: int
    instability: float
    significance: float = 1.0
    chance: float = 0.0


Preset = Callable[[int, float, int], tuple[Stage, ...]]

PRESETS: Registry[Preset] = Registry("mask preset")
"""Each takes (target, gamma, stages): the neurons to take in all, the option γ and the number of
stages, which a preset without such a freedom leaves unused. The label is its name in tables; `{gamma}`
in it is γ with a space after it, nothing where γ is 1."""


def falling(target: int, gammas: Sequence[float]) -> tuple[Stage, ...]:
    """One stage per γ; the counts differ by at most one and sum to `target`."""
    stages = len(gammas)
    ends = [target * i // stages for i in range(stages + 1)]
    return tuple(Stage(ends[i + 1] - ends[i], gamma) for i, gamma in enumerate(gammas))


@PRESETS.register("paper", help="gamma falls to 0 in mask.stages stages", label="grafting")
def paper(target: int, gamma: float, stages: int) -> tuple[Stage, ...]:
    """γ falls linearly from `gamma` to 0 (both included) in `stages` stages of equal count."""
    last = max(stages - 1, 1)
    return falling(target, [gamma * (last - i) / last for i in range(stages)])


@PRESETS.register("thesis", help="gamma is 2, 1.5, 1, 0", label="grafting (thesis)")
def thesis(target: int, gamma: float, stages: int) -> tuple[Stage, ...]:
    """γ = 2, 1.5, 1, 0, a quarter of the target each (Brandis 2023); `gamma` and `stages` are unused."""
    return falling(target, (2.0, 1.5, 1.0, 0.0))


@PRESETS.register("fixed", help="gamma stays", label="grafting by {gamma}r_u - r_s")
def fixed(target: int, gamma: float, stages: int) -> tuple[Stage, ...]:
    """The largest `gamma`·r_u − r_s, all at once."""
    return (Stage(target, gamma),)


@PRESETS.register("unstable", help="instability alone", label="grafting by r_u")
def unstable(target: int, gamma: float, stages: int) -> tuple[Stage, ...]:
    """The largest r_u; needs no significance."""
    return (Stage(target, 1.0, significance=0.0),)


@PRESETS.register("insignificant", help="significance alone", label="grafting by -r_s")
def insignificant(target: int, gamma: float, stages: int) -> tuple[Stage, ...]:
    """The smallest r_s."""
    return (Stage(target, 0.0),)


@PRESETS.register("random", help="at random", label="random")
def random(target: int, gamma: float, stages: int) -> tuple[Stage, ...]:
    """Uniformly random neurons; needs no significance."""
    return (Stage(target, 0.0, significance=0.0, chance=1.0),)


def needs_significance(preset: str, gamma: float, stages: int) -> bool:
    """Whether some stage of the preset looks at r_s.

    Args:
        preset: a name in `PRESETS`.
        gamma, stages: its options.
    """
    return any(stage.significance for stage in PRESETS[preset](1, gamma, stages))
