"""What a training run is told: immutable, checked when made, free of heavy imports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from abcrown_graft.config.kinds import BOOLEAN, FINITE, INTEGER, INTEGERS, PATH, TEXT
from abcrown_graft.config.settings import Settings, linked, stage_option
from abcrown_graft.registry import Registry
from abcrown_graft.training import methods  # noqa: F401  (registers the methods)
from abcrown_graft.training.method import METHODS, Method
from abcrown_graft.training.methods.fat import Fat

if TYPE_CHECKING:
    from abcrown_graft.training.augment import Augmentation

PRECISIONS = ("float32", "bfloat16")
SCHEDULES = ("multistep", "cosine", "linear")

AUGMENTATIONS: Registry[Augmentation] = Registry("augmentation")
AUGMENTATIONS.declare("none", "abcrown_graft.training.augment:leave")
AUGMENTATIONS.declare("crop_flip", "abcrown_graft.training.augment:crop_flip", help="pads, crops at random and mirrors")


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Settings):
    """Of the section `train`: which method, of which images, into which file."""

    method: str = stage_option(
        "train.method",
        TEXT,
        "fat",
        "Loss of training, and of tune.",
        choices=METHODS,
    )
    tensorboard: bool = stage_option(
        "train.tensorboard",
        BOOLEAN,
        False,
        "Write every epoch's figures for TensorBoard (pip install tensorboard) beside the checkpoint, of tune too.",
    )
    validation: int = stage_option(
        "train.validation", INTEGER, 5000, "Images at the end of the training split kept for validation.", low=1
    )
    limit: int | None = stage_option(
        "train.limit", INTEGER, None, "Number of training images used; null is all.", low=1
    )
    checkpoint: str | None = stage_option("train.checkpoint", PATH, None, "File that receives the trained weights.")


@dataclass(frozen=True, kw_only=True)
class AdversarialSettings(Settings):
    """What training and graft tuning have in common.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per step; a single left-over image joins the batch before it.
        lr: learning rate at the start.
        momentum: of SGD, in [0, 1).
        weight_decay: L2 penalty of SGD on everything but slopes and intercepts.
        warmup: epochs, or parts of one, over which the learning rate rises from 0.
        epsilon: perturbation radius (max norm) in pixel units, in [0, 1].
        seed: decides order, augmentation and noise.
        method: the loss, with the method's own options.
        attack_step: size of the one signed-gradient step of "fat" in units of epsilon; whatever the method, that step
            also measures the one-step validation accuracy.
        augment: a name in `AUGMENTATIONS`.
        validation: this many images at the end of the data select the best epoch and are not learnt from.
        precision: a name in `PRECISIONS`; "bfloat16" is torch's automatic mixed precision, weights stay float32.
        channels_last: keep images and convolutions in that memory format.
        compile: run the passes by torch.compile, but for the one that GradAlign differentiates twice.

    Raises:
        ConfigError: a value is out of range; the message names its key, see `key`.
    """

    section: ClassVar[str]

    epochs: int
    batch_size: int
    lr: float
    momentum: float
    weight_decay: float
    warmup: float
    epsilon: float = linked("specification.epsilon")
    seed: int = linked("general.seed", 0)
    method: Method = Fat()
    attack_step: float = stage_option(
        "train.attack_step",
        FINITE,
        1.25,
        "Step of the one-step attack, of fat and of every method's validation, in units of epsilon.",
        above=0,
    )
    augment: str = stage_option(
        "train.augment",
        TEXT,
        "none",
        "Augmentation of the training images, of tune too.",
        choices=AUGMENTATIONS,
    )
    validation: int = linked("train.validation", TrainOptions.validation)
    precision: str = stage_option(
        "train.precision",
        TEXT,
        "float32",
        "Arithmetic of the passes, of tune too: bfloat16 is mixed precision with float32 weights.",
        choices=PRECISIONS,
    )
    channels_last: bool = stage_option(
        "train.channels_last", BOOLEAN, False, "Memory format of images and convolutions, of tune too."
    )
    compile: bool = stage_option(
        "train.compile",
        BOOLEAN,
        False,
        "Run by torch.compile what is differentiated once, of tune too; not for ibp and crown-ibp.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epsilon is None or not 0 <= self.epsilon <= 1:
            raise self.wrong("epsilon", "training needs a radius in [0, 1]")
        if not isinstance(self.method, Method):
            raise TypeError(f"method has to be a training method such as Fat(), not {self.method!r}")
        self.method.check(self.epochs)
        if self.compile and not self.method.compilable:
            raise self.wrong("compile", f"is not supported with train.method {self.method.name}; set it to false")

    def values(self) -> dict[str, Any]:
        """All that is set, the method's options included, by key."""
        own = {key: getattr(self, name) for name, key in self.keys().items()}
        keys = self.method.keys(self.section)
        return {**own, "train.method": self.method.name, **{keys[name]: getattr(self.method, name) for name in keys}}


@dataclass(frozen=True, kw_only=True)
class TrainSettings(AdversarialSettings):
    """Training from scratch: SGD with a learning rate that falls.

    Attributes:
        schedule: a name in `SCHEDULES`: "multistep" multiplies the rate by `lr_factor` at every milestone, "cosine"
            lowers it epoch by epoch along half a cosine, "linear" step by step to 0.
        milestones: numbers of finished epochs, increasing; those past the last epoch have no effect, as in torch.
        lr_factor: in (0, 1].
    """

    section: ClassVar[str] = "train"

    epochs: int = stage_option("train.epochs", INTEGER, 200, "Passes over the training images.", low=1)
    batch_size: int = stage_option("train.batch_size", INTEGER, 128, "Images of one step.", low=1)
    lr: float = stage_option("train.lr", FINITE, 0.1, "Learning rate at the start.", above=0)
    momentum: float = stage_option("train.momentum", FINITE, 0.9, "Momentum of the optimiser.", low=0, below=1)
    weight_decay: float = stage_option("train.weight_decay", FINITE, 5e-4, "Weight decay of the optimiser.", low=0)
    warmup: float = stage_option(
        "train.warmup", FINITE, 0.0, "Epochs over which the learning rate rises from 0.", low=0
    )
    schedule: str = stage_option(
        "train.schedule",
        TEXT,
        "multistep",
        "How the learning rate falls: at milestones, along a cosine epoch by epoch, or linearly step by step.",
        choices=SCHEDULES,
    )
    milestones: tuple[int, ...] = stage_option(
        "train.milestones", INTEGERS, (100, 150), "Epochs at which the learning rate is multiplied by lr_factor.", low=1
    )
    lr_factor: float = stage_option(
        "train.lr_factor", FINITE, 0.1, "Factor on the learning rate at each milestone.", above=0, high=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.milestones) != sorted(set(self.milestones)):
            raise self.wrong("milestones", "must increase; sort them and name each once")


@dataclass(frozen=True, kw_only=True)
class TuneOptions(Settings):
    """Of the section `tune`: what is tuned, the lines that neurons start from, and the file that is written."""

    slope: float = stage_option("tune.slope", FINITE, 0.4, "Slope that grafted neurons start from.")
    intercept: float = stage_option("tune.intercept", FINITE, 0.0, "Intercept that grafted neurons start from.")
    fit_lines: bool = stage_option(
        "tune.fit_lines",
        BOOLEAN,
        False,
        "Start every grafted neuron instead from the least-squares line of its ReLU over the images of significance.",
    )
    freeze_weights: bool = stage_option(
        "tune.freeze_weights", BOOLEAN, False, "Tune slopes and intercepts only.", flag="--freeze_weights"
    )
    prune: bool = stage_option(
        "tune.prune",
        BOOLEAN,
        False,
        "Prune instead: slopes and intercepts are 0 whatever tune.slope says, and stay so; only the weights learn.",
    )
    checkpoint: str | None = stage_option(
        "tune.checkpoint", PATH, None, "File that receives the grafted and tuned network."
    )


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

    epochs: int = stage_option("tune.epochs", INTEGER, 100, "Passes over the training images.", low=1)
    batch_size: int = stage_option("tune.batch_size", INTEGER, 128, "Images of one step.", low=1)
    lr: float = stage_option("tune.lr", FINITE, 1e-3, "Learning rate of the weights at the start.", above=0)
    warmup: float = stage_option("tune.warmup", FINITE, 0.0, "Epochs over which the learning rates rise from 0.", low=0)
    slope_lr: float = stage_option(
        "tune.slope_lr", FINITE, 0.01, "Learning rate of slopes and intercepts at the start.", above=0
    )
    momentum: float = stage_option("tune.momentum", FINITE, 0.9, "Momentum of the optimiser.", low=0, below=1)
    weight_decay: float = stage_option(
        "tune.weight_decay", FINITE, 5e-4, "Weight decay of the weights; slopes and intercepts have none.", low=0
    )
    freeze_weights: bool = linked("tune.freeze_weights", TuneOptions.freeze_weights)
    prune: bool = linked("tune.prune", TuneOptions.prune)
    slope_decay: float = stage_option(
        "tune.slope_decay",
        FINITE,
        0.0,
        "L2 penalty that draws slopes to slope_target, in the unit of weight_decay.",
        low=0,
    )
    slope_target: float = stage_option("tune.slope_target", FINITE, 0.0, "Slope that slope_decay draws to.")
    relu_stability: float = stage_option(
        "tune.relu_stability",
        FINITE,
        0.0,
        "Weight of a term that rewards neurons that are stable by interval bounds, among those not grafted.",
        low=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prune and self.freeze_weights:
            raise self.wrong("prune", "leaves nothing to learn with freeze_weights; set one of them to false")
        if self.prune and self.slope_decay:
            raise self.wrong("prune", "fixes the slopes that slope_decay would move; set one of them to 0 or false")
