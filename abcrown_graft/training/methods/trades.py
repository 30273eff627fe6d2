"""The trade-off between accuracy and robustness as a loss: the method `trades`.

Source: Zhang et al., *Theoretically principled trade-off between robustness and accuracy*, ICML 2019 (eq. 5).
"""

from __future__ import annotations

from dataclasses import dataclass

from abcrown_graft.config.kinds import FINITE
from abcrown_graft.config.settings import stage_option
from abcrown_graft.training.method import METHODS, BatchLoss, Step
from abcrown_graft.training.methods.pgd import SeveralSteps

TRADES_START = 1e-3  # standard deviation of the start around the clean image, where the divergence has no gradient


@METHODS.register("trades", help="adversarial, several steps, on the divergence from the clean output")
@dataclass(frozen=True, kw_only=True)
class Trades(SeveralSteps):
    """Cross-entropy of the clean images plus β · KL(p(x) ‖ p(x + δ)), where δ makes that divergence large.

    Attributes:
        trades_beta: β.
    """

    trades_beta: float = stage_option("train.trades_beta", FINITE, 6.0, "Weight of the divergence in trades.", low=0)

    def loss(self, step: Step) -> BatchLoss:
        """The attack looks at the model in eval mode; only the loss sees train mode."""
        import torch
        import torch.nn.functional as F

        from abcrown_graft.training.modes import evaluating
        from abcrown_graft.training.pgd import ascend, divergence

        model, images = step.model, step.images
        noise = torch.randn(images.shape, generator=step.noise, dtype=images.dtype, device=step.noise.device)
        with evaluating(model), torch.no_grad():
            before = model(images).log_softmax(1)
        start = TRADES_START * noise.to(images.device)
        delta = ascend(
            model,
            images,
            start,
            lambda logits: divergence(before, logits),
            step.epsilon,
            self.pgd_steps,
            self.pgd_step,
        )
        clean, perturbed = model(images), model(images + delta)
        apart = divergence(clean.log_softmax(1), perturbed) / len(images)
        return BatchLoss(F.cross_entropy(clean, step.labels) + self.trades_beta * apart, perturbed)
