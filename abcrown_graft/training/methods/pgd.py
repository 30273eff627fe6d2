"""Adversarial training with several gradient steps: the method `pgd`.

Source: Madry et al., *Towards deep learning models resistant to adversarial attacks*, ICLR 2018 (eq. 2.1, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass

from abcrown_graft.config.kinds import FINITE, INTEGER
from abcrown_graft.config.settings import stage_option
from abcrown_graft.training.method import METHODS, BatchLoss, Method, Step


@dataclass(frozen=True, kw_only=True)
class SeveralSteps(Method):
    """What the methods whose attack takes several steps have in common.

    Attributes:
        pgd_steps: gradient steps of the attack.
        pgd_step: size of such a step in units of epsilon / pgd_steps.
    """

    pgd_steps: int = stage_option(
        "train.pgd_steps", INTEGER, 7, "Gradient steps of the attack of pgd and trades.", low=1
    )
    pgd_step: float = stage_option(
        "train.pgd_step", FINITE, 2.5, "Step of that attack, in units of epsilon / pgd_steps.", above=0
    )


@METHODS.register("pgd", help="adversarial, several steps")
@dataclass(frozen=True, kw_only=True)
class Pgd(SeveralSteps):
    """Cross-entropy where projected gradient ascent on it has ended."""

    def loss(self, step: Step) -> BatchLoss:
        """From δ ~ U(−ε, ε)."""
        import torch.nn.functional as F

        from abcrown_graft.training.fat import cross_entropy_of, uniform_noise
        from abcrown_graft.training.pgd import ascend

        model, images, labels = step.model, step.images, step.labels
        start = uniform_noise(images, step.epsilon, step.noise)
        loss = cross_entropy_of(labels)
        logits = model(images + ascend(model, images, start, loss, step.epsilon, self.pgd_steps, self.pgd_step))
        return BatchLoss(F.cross_entropy(logits, labels), logits)
