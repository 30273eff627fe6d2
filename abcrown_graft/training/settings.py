"""What a training run is told: immutable, checked when made, free of heavy imports.

Defaults of the published method (method table: FAT and graft tuning) belong to the caller; here only
the attack step and the GradAlign weight have one, because they are the same everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from abcrown_graft.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class AdversarialSettings:
    """What FAT training and graft tuning have in common.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per step; a single left-over image joins the batch before it.
        lr: learning rate at the start.
        momentum: of SGD, in [0, 1).
        weight_decay: L2 penalty of SGD on everything but slopes and intercepts.
        epsilon: perturbation radius (max norm) in pixel units, in [0, 1].
        attack_step: size of the one signed-gradient step in units of epsilon.
        gradalign: weight of the GradAlign term; 0 leaves it (and its cost) out.
        augment: a name in `abcrown_graft.training.augment.AUGMENTATIONS`.
        validation: this many images at the end of the data select the best epoch and are not learnt from.
        seed: decides order, augmentation and noise.

    Raises:
        ConfigError: a value is out of range; the message names the key, e.g. `train.epochs`.
    """

    section: ClassVar[str]

    epochs: int
    batch_size: int
    lr: float
    momentum: float
    weight_decay: float
    epsilon: float
    attack_step: float = 1.25
    gradalign: float = 0.2
    augment: str = "none"
    validation: int
    seed: int = 0

    def __post_init__(self) -> None:
        for key in ("epochs", "batch_size", "validation"):
            self._check_integer(key, at_least=1)
        self._check_integer("seed", at_least=0)
        for key in ("lr", "attack_step"):
            self._check_number(key, above=0.0)
        for key in ("weight_decay", "gradalign"):
            self._check_number(key)
        self._check_number("epsilon", at_most=1.0)
        self._check_number("momentum", below=1.0)

    def _check_integer(self, key: str, at_least: int) -> None:
        value = getattr(self, key)
        if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
            raise self._wrong(key, f"must be a whole number of at least {at_least}")

    def _check_number(
        self, key: str, above: float | None = None, at_most: float = math.inf, below: float = math.inf
    ) -> None:
        """Checks that the value is finite, at least 0 (or more than `above`), and under the upper limits."""
        value = getattr(self, key)
        lowest = "at least 0" if above is None else f"more than {above:g}"
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self._wrong(key, f"must be a finite number, {lowest}")
        if value < 0 or (above is not None and value <= above):
            raise self._wrong(key, f"must be {lowest}")
        if value > at_most:
            raise self._wrong(key, f"must be at most {at_most:g}")
        if value >= below:
            raise self._wrong(key, f"must be less than {below:g}")

    def _wrong(self, key: str, rule: str) -> ConfigError:
        return ConfigError(f"{self.section}.{key}: {rule}, not {getattr(self, key)!r}")


@dataclass(frozen=True, kw_only=True)
class TrainSettings(AdversarialSettings):
    """FAT training: SGD whose learning rate is multiplied by `lr_factor` at every milestone.

    Attributes:
        milestones: numbers of finished epochs, increasing and below `epochs`.
        lr_factor: in (0, 1].
    """

    section: ClassVar[str] = "train"

    milestones: tuple[int, ...] = ()
    lr_factor: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_number("lr_factor", above=0.0, at_most=1.0)
        marks = self.milestones
        if not isinstance(marks, tuple) or any(isinstance(m, bool) or not isinstance(m, int) for m in marks):
            raise self._wrong("milestones", "must be a tuple of whole numbers")
        if list(marks) != sorted(set(marks)) or any(not 0 < mark < self.epochs for mark in marks):
            raise self._wrong("milestones", f"must increase and lie between 1 and train.epochs - 1 ({self.epochs - 1})")


@dataclass(frozen=True, kw_only=True)
class TuneSettings(AdversarialSettings):
    """Graft tuning: SGD with a cosine learning rate; slopes and intercepts have a rate of their own, never decayed.

    Attributes:
        slope_lr: learning rate at the start of every slope and intercept.
        freeze_weights: only slopes and intercepts learn; weights and running statistics stay as they are.
    """

    section: ClassVar[str] = "tune"

    slope_lr: float
    freeze_weights: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_number("slope_lr", above=0.0)
        if not isinstance(self.freeze_weights, bool):
            raise self._wrong("freeze_weights", "must be true or false")
