"""Certified training by interval bounds, and by CROWN's and then those: the methods `ibp` and `crown-ibp`.

Sources: see `training.certified`. While ε grows from 0 to its full size, κ goes from 1 to its option's value;
`crown-ibp` mixes the lower bounds of CROWN and of interval arithmetic by β and 1 − β, and β goes from 1 to 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

from abcrown_graft.config.kinds import FINITE
from abcrown_graft.config.settings import stage_option
from abcrown_graft.training.method import METHODS, BatchLoss, Method, Step

C = TypeVar("C", bound="Certified")


@dataclass(frozen=True, kw_only=True)
class Certified(Method):
    """What the certified methods have in common.

    Attributes:
        kappa: weight of the clean cross-entropy, once epsilon is full.
        epsilon_start: epochs, or parts of one, that epsilon is left at 0.
        epsilon_length: epochs over which it then grows to its full size, linearly.
    """

    compilable: ClassVar[bool] = False

    kappa: float = stage_option(
        "train.kappa",
        FINITE,
        0.5,
        "Weight of the clean images in ibp and crown-ibp once epsilon is full; it falls from 1.",
        low=0,
        high=1,
    )
    epsilon_start: float = stage_option(
        "train.epsilon_start", FINITE, 0.0, "Epochs that ibp and crown-ibp leave epsilon at 0.", low=0
    )
    epsilon_length: float = stage_option(
        "train.epsilon_length",
        FINITE,
        0.0,
        "Epochs over which ibp and crown-ibp then raise epsilon to its full size; tune has it full from the start.",
        low=0,
    )

    def crown_share(self, share: float) -> float:
        """β, the share of CROWN's bound, where epsilon has this share of its size."""
        return 0.0

    def loss(self, step: Step) -> BatchLoss:
        """κ · cross-entropy of the clean images + (1 − κ) · cross-entropy of the worst logits that the bounds allow."""
        from abcrown_graft.training.certified import certified_loss
        from abcrown_graft.training.schedule import ramp

        share = ramp(step.progress, self.epsilon_start, self.epsilon_length)
        kappa = 1 - share * (1 - self.kappa)
        return certified_loss(
            step.model, step.images, step.labels, share * step.epsilon, kappa, self.crown_share(share)
        )

    @property
    def epsilon_is_full_after(self) -> float:
        """Epochs after which epsilon has its full size."""
        return self.epsilon_start + self.epsilon_length

    def check(self, epochs: int) -> None:
        """Raises ConfigError if epsilon does not get full."""
        if self.epsilon_is_full_after > epochs:
            raise self.wrong("epsilon_length", f"with epsilon_start it must fit into the {epochs} epochs")

    def in_tuning(self: C) -> C:
        """Without a schedule of epsilon: the network has been through it."""
        return replace(self, epsilon_start=0.0, epsilon_length=0.0)


@METHODS.register("ibp", help="certified, by interval bounds")
@dataclass(frozen=True, kw_only=True)
class Ibp(Certified):
    """By interval bounds alone."""

    certified_by: ClassVar[str] = "interval"


@METHODS.register("crown-ibp", help="certified, by CROWN's and then interval bounds")
@dataclass(frozen=True, kw_only=True)
class CrownIbp(Certified):
    """By CROWN's bounds at first."""

    certified_by: ClassVar[str] = "crown"

    def crown_share(self, share: float) -> float:
        """β falls from 1 to 0."""
        return 1 - share
