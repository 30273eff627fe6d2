"""What a training run is told: immutable, checked when made, free of heavy imports.

Defaults of the published method (method table: FAT and graft tuning) belong to the caller; here only
the attack step and the GradAlign weight have one, because they are the same everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from abcrown_graft.errors import ConfigError

PRECISIONS = ("float32", "bfloat16")
SCHEDULES = ("multistep", "cosine", "linear")
CERTIFIED = ("ibp", "crown-ibp")
METHODS = ("fat", "pgd", "trades", *CERTIFIED)

_ATTACK = ("method", "attack_step", "pgd_steps", "pgd_step", "trades_beta", "kappa", "epsilon_start", "epsilon_length")
_OF_TRAINING = (*_ATTACK, "augment", "validation", "precision", "channels_last", "compile")  # what tuning shares


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
        method: a name in `METHODS`, the loss: see `losses.LOSSES`.
        attack_step: size of the one signed-gradient step of "fat" in units of epsilon; whatever the method, that step
            also measures the one-step validation accuracy.
        gradalign: weight of the GradAlign term of "fat"; 0 leaves it (and its cost) out.
        pgd_steps: gradient steps of the attack of "pgd" and "trades".
        pgd_step: size of such a step in units of epsilon / pgd_steps.
        trades_beta: weight of the divergence in "trades".
        kappa: weight of the clean cross-entropy in "ibp" and "crown-ibp", in [0, 1], once epsilon is full.
        epsilon_start: epochs, or parts of one, that "ibp" and "crown-ibp" leave epsilon at 0.
        epsilon_length: epochs over which it then grows to its full size, linearly.
        augment: a name in `abcrown_graft.training.augment.AUGMENTATIONS`.
        validation: this many images at the end of the data select the best epoch and are not learnt from.
        seed: decides order, augmentation and noise.
        warmup: epochs, or parts of one, over which the learning rate rises from 0.
        precision: a name in `PRECISIONS`; "bfloat16" is torch's automatic mixed precision, weights stay float32.
        channels_last: keep images and convolutions in that memory format.
        compile: run the passes by torch.compile, but for the one that GradAlign differentiates twice.

    Raises:
        ConfigError: a value is out of range; the message names its key, see `key`.
    """

    section: ClassVar[str]
    elsewhere: ClassVar[Mapping[str, str]] = {"epsilon": "specification", "seed": "general"}  # sections of the others

    epochs: int
    batch_size: int
    lr: float
    momentum: float
    weight_decay: float
    epsilon: float
    method: str = "fat"
    attack_step: float = 1.25
    gradalign: float = 0.2
    pgd_steps: int = 7
    pgd_step: float = 2.5
    trades_beta: float = 6.0
    kappa: float = 0.5
    epsilon_start: float = 0.0
    epsilon_length: float = 0.0
    augment: str = "none"
    validation: int
    seed: int = 0
    warmup: float = 0.0
    precision: str = "float32"
    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        for key in ("epochs", "batch_size", "validation", "pgd_steps"):
            self._check_integer(key, at_least=1)
        self._check_integer("seed", at_least=0)
        for key in ("lr", "attack_step", "pgd_step"):
            self._check_number(key, above=0.0)
        for key in ("weight_decay", "gradalign", "warmup", "trades_beta", "epsilon_start", "epsilon_length"):
            self._check_number(key)
        for key in ("epsilon", "kappa"):
            self._check_number(key, at_most=1.0)
        self._check_number("momentum", below=1.0)
        self._check_choice("precision", PRECISIONS)
        self._check_choice("method", METHODS)
        if self.certified and self.epsilon_start + self.epsilon_length > self.epochs:
            raise self._wrong("epsilon_length", f"with epsilon_start must fit into the {self.epochs} epochs")
        for key in ("channels_last", "compile"):
            self._check_boolean(key)
        if self.compile and self.certified:
            raise self._wrong("compile", f"is not supported with method {self.method!r}; it must be false")

    @property
    def certified(self) -> bool:
        """Whether the loss is made of bounds, and the best epoch chosen by them."""
        return self.method in CERTIFIED

    @classmethod
    def key(cls, name: str) -> str:
        """The configuration's key of a setting, e.g. `train.validation` of tuning's `validation`."""
        return f"{cls.elsewhere.get(name, cls.section)}.{name}"

    def _check_choice(self, key: str, known: tuple[str, ...]) -> None:
        if getattr(self, key) not in known:
            raise self._wrong(key, f"must be one of {', '.join(known)}")

    def _check_boolean(self, key: str) -> None:
        if not isinstance(getattr(self, key), bool):
            raise self._wrong(key, "must be true or false")

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

    def _wrong(self, name: str, rule: str) -> ConfigError:
        return ConfigError(f"{self.key(name)}: {rule}, not {getattr(self, name)!r}")


@dataclass(frozen=True, kw_only=True)
class TrainSettings(AdversarialSettings):
    """FAT training: SGD with a learning rate that falls.

    Attributes:
        schedule: a name in `SCHEDULES`: "multistep" multiplies the rate by `lr_factor` at every milestone, "cosine"
            lowers it epoch by epoch along half a cosine, "linear" step by step to 0.
        milestones: numbers of finished epochs, increasing and below `epochs`.
        lr_factor: in (0, 1].
    """

    section: ClassVar[str] = "train"

    schedule: str = "multistep"
    milestones: tuple[int, ...] = ()
    lr_factor: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_choice("schedule", SCHEDULES)
        self._check_number("lr_factor", above=0.0, at_most=1.0)
        marks = self.milestones
        if not isinstance(marks, tuple) or any(isinstance(m, bool) or not isinstance(m, int) for m in marks):
            raise self._wrong("milestones", "must be a tuple of whole numbers")
        if list(marks) != sorted(set(marks)) or any(not 0 < mark < self.epochs for mark in marks):
            raise self._wrong("milestones", f"must increase and lie between 1 and train.epochs - 1 ({self.epochs - 1})")


@dataclass(frozen=True, kw_only=True)
class TuneSettings(AdversarialSettings):
    """Graft tuning: SGD with a cosine learning rate; slopes and intercepts have a rate of their own.

    Attributes:
        slope_lr: learning rate at the start of every slope and intercept.
        freeze_weights: only slopes and intercepts learn; weights and running statistics stay as they are.
        prune: slopes and intercepts are 0 and stay so; only weights learn.
        slope_decay: L2 penalty that draws slopes (not intercepts) towards `slope_target`, in the unit of
            `weight_decay`.
        slope_target: a finite number.
        relu_stability: weight of the term that rewards stable neurons among the ones that are not grafted.
    """

    section: ClassVar[str] = "tune"
    elsewhere: ClassVar[Mapping[str, str]] = {**AdversarialSettings.elsewhere, **dict.fromkeys(_OF_TRAINING, "train")}

    slope_lr: float
    freeze_weights: bool = False
    prune: bool = False
    slope_decay: float = 0.0
    slope_target: float = 0.0
    relu_stability: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_number("slope_lr", above=0.0)
        for key in ("freeze_weights", "prune"):
            self._check_boolean(key)
        for key in ("slope_decay", "relu_stability"):
            self._check_number(key)
        target = self.slope_target
        if isinstance(target, bool) or not isinstance(target, (int, float)) or not math.isfinite(target):
            raise self._wrong("slope_target", "must be a finite number")
        if self.prune and self.freeze_weights:
            raise self._wrong("prune", "leaves nothing to learn with freeze_weights; set one of them to false")
        if self.prune and self.slope_decay:
            raise self._wrong("prune", "fixes the slopes that slope_decay would move; set one of them to 0 or false")
