"""Fast adversarial training with GradAlign: the method `fat`."""

from __future__ import annotations

from dataclasses import dataclass

from abcrown_graft.config.kinds import FINITE
from abcrown_graft.config.settings import stage_option
from abcrown_graft.training.method import METHODS, BatchLoss, Method, Step


@METHODS.register("fat", help="adversarial, one gradient step")
@dataclass(frozen=True, kw_only=True)
class Fat(Method):
    """Cross-entropy at the one-step perturbation, plus the weighted GradAlign term; see `training.fat`.

    Attributes:
        gradalign: weight of that term; 0 leaves it (and its cost) out.
    """

    gradalign: float = stage_option(
        "train.gradalign",
        FINITE,
        0.2,
        "Weight of the GradAlign term of fat; 0 switches it off.",
        low=0,
        also="tune",
    )

    def loss(self, step: Step) -> BatchLoss:
        """As `training.fat.fat_loss`."""
        from abcrown_graft.training.fat import fat_loss

        return fat_loss(
            step.model, step.images, step.labels, step.epsilon, step.attack_step, self.gradalign, step.noise
        )
