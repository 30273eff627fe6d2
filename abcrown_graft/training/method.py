"""What a training method is: its own options, and the loss of a batch. Free of heavy imports.

A method is one file: a class of settings with a `loss`, registered under its name. The schema takes its options, with
their flags, ranges and help, from there:

    @METHODS.register("mine", help="what it does in a few words")
    @dataclass(frozen=True, kw_only=True)
    class Mine(Method):
        weight: float = stage_option("train.mine_weight", FINITE, 1.0, "Weight of the term of mine.", low=0)

        def loss(self, step: Step) -> BatchLoss: ...
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeVar

from abcrown_graft.config.settings import Settings
from abcrown_graft.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

M = TypeVar("M", bound="Method")


class BatchLoss(NamedTuple):
    """A batch's loss (scalar, differentiable) and its logits `(batch, classes)` at the images that it looks at."""

    loss: Tensor
    logits: Tensor


@dataclass(frozen=True, eq=False)
class Step:
    """What a loss is made of.

    Attributes:
        model: pixels in [0, 1] to logits, in the mode that it learns in.
        images, labels: `(batch, *shape)` and `(batch,)`, on the model's device.
        epsilon: radius in pixel units.
        attack_step: size of the one-step attack's step, in units of epsilon.
        noise: of all that is random.
        progress: in epochs.
    """

    model: nn.Module
    images: Tensor
    labels: Tensor
    epsilon: float
    attack_step: float
    noise: torch.Generator
    progress: float


@dataclass(frozen=True, kw_only=True)
class Method(Settings):
    """Base of training methods; the fields of a subclass are its options.

    Attributes:
        certified_by: the bounds that choose the best epoch, "interval" or "crown" (the better of the two); "" where the
            accuracy under the one-step attack does.
        compilable: whether torch.compile takes its passes.
    """

    certified_by: ClassVar[str] = ""
    compilable: ClassVar[bool] = True

    def loss(self, step: Step) -> BatchLoss:
        """The loss of a batch.

        Args:
            step: model, images, and what else there is to know.
        """
        raise NotImplementedError(f"training method {self.name!r} has no loss; define the method `loss`")

    @property
    def name(self) -> str:
        """The name it is registered under, else that of its class."""
        return next((name for name in METHODS if METHODS[name] is type(self)), type(self).__name__)

    @property
    def epsilon_is_full_after(self) -> float:
        """Epochs after which epsilon has its full size; no earlier epoch is the best one."""
        return 0.0

    def check(self, epochs: int) -> None:
        """Raises ConfigError if the options do not suit the number of epochs."""

    def in_tuning(self: M) -> M:
        """The method as graft tuning uses it."""
        return self


METHODS: Registry[type[Method]] = Registry("training method")
