"""The options of the stages that choose neurons, and the registry of significance heuristics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from abcrown_graft.config.kinds import (
    FINITE,
    FLOATS,
    INTEGER,
    PATH,
    TEXT,
)
from abcrown_graft.config.settings import Settings, engine_option, linked, stage_option
from abcrown_graft.masks.mappings import MAPPINGS
from abcrown_graft.masks.presets import PRESETS, needs_significance
from abcrown_graft.registry import OneOf, Registry
from abcrown_graft.training.settings import AdversarialSettings, TuneOptions

if TYPE_CHECKING:
    from abcrown_graft.masks.heuristics import Heuristic

SCOPES = ("global", "layer")
GRANULARITIES = ("neuron", "channel")
LEARNED, LEARNED_LABEL = "learned", "Hydra"  # scores that robust training gives, see `masks.learned`
NEEDS_RADIUS = "needs radius"  # a heuristic that looks at the perturbation
_HERE = "abcrown_graft.masks.heuristics"

HEURISTICS: Registry[Heuristic] = Registry("significance heuristic")
"""Labels are the names in tables of pruning the neurons that matter least."""
HEURISTICS.declare("gradient", f"{_HERE}:GRADIENT", help="mean |gradient| of the loss", label="GAP")
HEURISTICS.declare("magnitude", f"{_HERE}:MAGNITUDE", help="mean |value| of the pre-activation", label="SAP")
HEURISTICS.declare("variance", f"{_HERE}:VARIANCE", help="variance of the pre-activation")
HEURISTICS.declare(
    "interval",
    f"{_HERE}:INTERVAL",
    help="minus the mean width of the unstable intervals, weighted by what they feed",
    properties=[NEEDS_RADIUS],
)


@dataclass(frozen=True, kw_only=True)
class InstabilityOptions(Settings):
    """The section `instability`: counting unstable neurons."""

    dump: str | None = engine_option(
        "instability.dump", PATH, None, "File that receives how often each neuron is unstable.", "--instability_dump"
    )
    method: str = engine_option(
        "instability.method",
        TEXT,
        "crown",
        "Pre-activation bounds that decide whether a neuron is unstable; solver.alpha-crown sets the effort of "
        "alpha-crown. α,β-CROWN has no interval.",
        "--instability_method",
        choices=("interval", "crown", "alpha-crown"),
    )
    population: str = engine_option(
        "instability.population",
        TEXT,
        "correct",
        "Images that count: the correctly classified ones, all, or those that no attack and no bounds decide, so that "
        "they reach branch and bound (bab).",
        "--instability_population",
        choices=("correct", "all", "bab"),
    )
    split: str = stage_option(
        "instability.split",
        TEXT,
        "train",
        "Split that the stage counts unstable neurons on.",
        choices=("train", "test"),
    )
    start: int = stage_option("instability.start", INTEGER, 0, "First image to count, from 0.", low=0)
    end: int | None = stage_option(
        "instability.end", INTEGER, None, "Image to stop counting before; null is the end of the split.", low=0
    )


@dataclass(frozen=True, kw_only=True)
class SignificanceOptions(Settings):
    """The section `significance`: how much each neuron matters."""

    method: str = stage_option(
        "significance.method",
        TEXT,
        "gradient",
        "Score of each neuron; learned is the one that robust training gives it.",
        choices=OneOf(HEURISTICS, (LEARNED,)),
    )
    samples: int = stage_option(
        "significance.samples", INTEGER, 1000, "Training images that the score is made from.", low=1
    )
    batch_size: int = stage_option(
        "significance.batch_size", INTEGER, 100, "Images of one pass, or of one step of learned.", low=1
    )
    init: str = stage_option(
        "significance.init",
        TEXT,
        "gradient",
        "Score that learned starts from, scaled.",
        choices=HEURISTICS,
    )
    replacement: str = stage_option(
        "significance.replacement",
        TEXT,
        "linear",
        "What learned has in place of the other neurons: the line of tune.slope and tune.intercept, or zero (pruning).",
        choices=("linear", "zero"),
    )
    path: str | None = stage_option("significance.path", PATH, None, "File that receives the scores.")


@dataclass(frozen=True, kw_only=True)
class LearnSettings(Settings):
    """How scores are learned: SGD with a cosine learning rate on the FAT loss. Nothing is validated or augmented.

    Attributes:
        epochs: passes over the images.
        batch_size: images of one step.
        lr: learning rate at the start.
        momentum: of SGD.
        gradalign: weight of the GradAlign term.
        ratio: share of the neurons that is not kept, in [0, 1].
        scope: "layer" keeps `neurons − round(ratio · neurons)` in every site, as HYDRA does; "global" in the network.
        epsilon, attack_step, seed: as in training.
        slope, intercept: of the line that takes a neuron's place; both 0 prunes it.

    Raises:
        ConfigError: a value is out of range; the message names the key, e.g. `significance.lr`.
    """

    epochs: int = stage_option("significance.epochs", INTEGER, 20, "Passes of learned over the images.", low=1)
    batch_size: int = linked("significance.batch_size", SignificanceOptions.batch_size)
    lr: float = stage_option(
        "significance.lr", FINITE, 0.1, "Learning rate of learned at the start; it falls along a cosine.", above=0
    )
    gradalign: float = stage_option(
        "significance.gradalign", FINITE, 0.2, "Weight of the GradAlign term in learned; 0 switches it off.", low=0
    )
    ratio: float = stage_option(
        "significance.ratio", FINITE, 0.5, "Share of the neurons that learned does not keep as ReLUs.", low=0, high=1
    )
    scope: str = stage_option(
        "significance.scope",
        TEXT,
        "layer",
        "Whether learned keeps that share of every layer or of the whole network.",
        choices=SCOPES,
    )
    momentum: float = 0.9
    epsilon: float = linked("specification.epsilon")
    attack_step: float = linked("train.attack_step", AdversarialSettings.attack_step)
    seed: int = linked("general.seed", 0)
    slope: float = linked("tune.slope", TuneOptions.slope)
    intercept: float = linked("tune.intercept", TuneOptions.intercept)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epsilon is None or not 0 <= self.epsilon <= 1:
            raise self.wrong("epsilon", "training needs a radius in [0, 1]")


@dataclass(frozen=True, kw_only=True)
class MaskSettings(Settings):
    """The section `mask`: which neurons to graft.

    Attributes:
        preset: name in `PRESETS`.
        ratio: share of neurons to graft, in [0, 1].
        sweep: ratios of which each gives a mask; see the command `mask`.
        mapping: name in `MAPPINGS`, applied once to each score.
        scope: "global" or "layer".
        granularity: "neuron", or "channel" to take sites of three axes by whole channels.
        gamma: the γ of preset `fixed`, the first γ of preset `paper`.
        stages: number of stages of preset `paper`.
        layer_cap: no site gets more than `floor(layer_cap · neurons of the site)`; None for no cap.
        seed: of preset `random`.
        path: of the mask's file.
    """

    preset: str = stage_option(
        "mask.preset",
        TEXT,
        "paper",
        "How neurons are chosen: stage by stage, by gamma times instability minus significance, or otherwise.",
        choices=PRESETS,
    )
    ratio: float = stage_option("mask.ratio", FINITE, 0.5, "Share of all neurons to graft.", low=0, high=1)
    sweep: tuple[float, ...] = stage_option(
        "mask.sweep",
        FLOATS,
        (),
        "Shares to graft instead of mask.ratio, for the command mask: one file each beside mask.path, such as mask_30.",
        flag="--sweep",
        low=0,
        high=1,
    )
    mapping: str = stage_option(
        "mask.mapping",
        TEXT,
        "norank",
        "How scores are mapped to [0, 1].",
        choices=MAPPINGS,
    )
    scope: str = stage_option(
        "mask.scope",
        TEXT,
        "global",
        "Whether scores are mapped, and the share is taken, over the whole network or in every layer.",
        choices=SCOPES,
    )
    granularity: str = stage_option(
        "mask.granularity",
        TEXT,
        "neuron",
        "Whether neurons are chosen one by one, or those of a convolution's channel together.",
        choices=GRANULARITIES,
    )
    gamma: float = stage_option(
        "mask.gamma",
        FINITE,
        2.0,
        "Weight of instability against significance: of the preset fixed, and the one that paper starts from.",
        low=0,
    )
    stages: int = stage_option("mask.stages", INTEGER, 100, "Steps in which gamma falls, for the preset paper.", low=1)
    layer_cap: float | None = stage_option(
        "mask.layer_cap", FINITE, None, "Largest share of one layer that may be grafted.", low=0, high=1
    )
    seed: int = stage_option("mask.seed", INTEGER, 100, "Seed of the preset random.", low=0, high=2**32 - 1)
    path: str | None = stage_option("mask.path", PATH, None, "File that receives the mask.")

    @property
    def needs_significance(self) -> bool:
        """Whether some stage of the preset looks at the significance."""
        return needs_significance(self.preset, self.gamma, self.stages)
