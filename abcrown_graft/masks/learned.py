"""Learned significance: scores that robust training itself gives the neurons, the weights being fixed.

Sehwag et al., *HYDRA: Pruning Adversarially Robust Neural Networks* (NeurIPS 2020), learns one score per weight: the
forward pass keeps the weights of the largest scores, the backward pass goes straight through that choice, and the loss
is the robust one. Here a score belongs to a *neuron*: it stays a ReLU if its score is among the largest, else it is
the line that grafting starts from, or zero (pruning). The gradient of the loss in a neuron's score is taken as the
gradient in the factor that chooses between the two, `∂L/∂y · (relu(z) − line(z))`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from abcrown_graft.errors import AbcrownGraftError, DataError
from abcrown_graft.masks.identity import explain_sites
from abcrown_graft.masks.options import LearnSettings
from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network, Node
from abcrown_graft.training.fat import fat_loss
from abcrown_graft.training.schedule import cosine_factor
from abcrown_graft.training.seeds import stream

_ORDER, _NOISE = range(2)  # streams of a run's seed


OnEpoch = Callable[[int, float], None]
"""Takes the number of the finished epoch, from 1, and its mean loss per image."""


def learned_scores(
    network: Network,
    images: Tensor,
    labels: Tensor,
    initial: Mapping[str, Tensor],
    settings: LearnSettings,
    on_epoch: OnEpoch | None = None,
) -> dict[str, Tensor]:
    """Scores of every neuron by site, float64 CPU tensors of the site's shape; the larger, the more needed.

    The network is that of evaluation mode; its weights stay as they are. Torch's global generators are not used.

    Args:
        network: takes pixels in [0, 1], gives logits; on the device of the images.
        images, labels: `(n, *shape)` and `(n,)`.
        initial: heuristic scores by site that the learned ones start from, see `initial_scores`.
        settings: how.
        on_epoch: is told of every epoch.

    Raises:
        DataError: there are no images, or the initial scores are of other sites or not finite.
        AbcrownGraftError: the loss became NaN or infinite.
    """
    if not len(images):
        raise DataError("learning the significance needs at least one image")
    if not network.sites:
        return {}
    model = ScoredNetwork(network, initial_scores(network, initial), settings)
    optimizer = torch.optim.SGD(model.parameters(), lr=settings.lr, momentum=settings.momentum)
    noise = stream(settings.seed, _NOISE, device=network.device)
    for epoch in range(settings.epochs):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * cosine_factor(epoch, settings.epochs)
        loss = _epoch(model, optimizer, images, labels, settings, epoch, noise)
        if on_epoch is not None:
            on_epoch(epoch + 1, loss)
    return model.values()


def _epoch(
    model: ScoredNetwork,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    settings: LearnSettings,
    epoch: int,
    noise: torch.Generator,
) -> float:
    """Learns once from every image; the mean loss per image."""
    total = 0.0
    order = torch.randperm(len(images), generator=stream(settings.seed, _ORDER, epoch)).to(images.device)
    for index in order.split(settings.batch_size):
        x, y = images[index], labels[index]
        loss = fat_loss(model, x, y, settings.epsilon, settings.attack_step, settings.gradalign, noise).loss
        value = loss.item()
        if not math.isfinite(value):
            raise AbcrownGraftError(
                f"significance (learned): the loss is {value} in epoch {epoch + 1}; "
                f"lower significance.lr ({settings.lr:g})"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        model.choose()
        total += value * len(index)
    return total / len(images)


class ScoredNetwork(nn.Module):
    """A network whose neurons are kept by their scores, which are its only parameters."""

    def __init__(self, network: Network, scores: Mapping[str, Tensor], settings: LearnSettings) -> None:
        """Starts from `scores` by site; see `LearnSettings` for what is kept, and what is in place of the rest."""
        super().__init__()
        self.network, self.settings = network, settings
        self.scores = nn.ParameterList([nn.Parameter(scores[site].to(network.device)) for site in network.sites])
        self.choose()

    @torch.no_grad()
    def choose(self) -> None:
        """Chooses anew, by the present scores, which neurons are kept."""
        flat = [score.flatten() for score in self.scores]
        groups = [[score] for score in flat] if self.settings.scope == "layer" else [flat]
        chosen = [part for group in groups for part in _kept(group, self.settings.ratio)]
        self.kept = {
            site: part.reshape(score.shape)
            for site, score, part in zip(self.network.sites, self.scores, chosen, strict=True)
        }

    def forward(self, x: Tensor) -> Tensor:
        """The output `(batch, *output shape)`; the gradient of a score goes straight through the choice."""
        scores = dict(zip(self.network.sites, self.scores, strict=True))
        values = {self.network.input.name: x}
        for node in self.network.nodes[1:]:
            y = node.operator.value(*(values[name] for name in node.inputs))
            if node.name in scores:
                score, z = scores[node.name], values[node.inputs[0]]
                factor = self.kept[node.name].to(z.dtype) + (score - score.detach())
                y = factor * y + (1 - factor) * (self.settings.slope * z + self.settings.intercept)
            values[node.name] = y
        return values[self.network.output.name]

    def values(self) -> dict[str, Tensor]:
        """The present scores by site, float64 on the CPU."""
        return {
            site: score.detach().double().cpu() for site, score in zip(self.network.sites, self.scores, strict=True)
        }


def _kept(scores: list[Tensor], ratio: float) -> list[Tensor]:
    """Marks all but the `round(ratio · neurons)` lowest of some flat scores; of equal ones the earlier go first."""
    joined = torch.cat(scores)
    kept = torch.ones_like(joined, dtype=torch.bool)
    kept[joined.argsort(stable=True)[: round(ratio * len(joined))]] = False
    return list(kept.split([len(score) for score in scores]))


def initial_scores(network: Network, heuristic: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`√(6 / fan-in) · h / max |h|` by site, in the network's precision: HYDRA's scaled initialisation (section 4).

    The fan-in is that of the convolution or linear layer that makes the neurons' inputs; those of a sum add up.

    Raises:
        DataError: sites, shapes, or values that are not finite.
    """
    difference = explain_sites(network.sites, {site: tuple(h.shape) for site, h in heuristic.items()})
    if difference:
        raise DataError(f"the initial scores are of another network: {difference}")
    scores = {}
    for site in network.sites:
        h = heuristic[site]
        if not bool(torch.isfinite(h).all()):
            raise DataError(f"the initial scores of site {site!r} are not all finite")
        largest = float(h.abs().max()) if h.numel() else 0.0
        scale = math.sqrt(6 / fan_in(network, network.by_name[site])) / largest if largest else 0.0
        scores[site] = (h.double() * scale).to(network.dtype)
    return scores


def fan_in(network: Network, site: Node) -> int:
    """The number of values that one input of an activation is a weighted sum of."""
    return max(1, _terms(network, network.by_name[site.inputs[0]]))


def _terms(network: Network, node: Node) -> int:
    if not isinstance(node.operator, op.AffineOperator):
        return 1
    if node.operator.fan_in is not None:
        return node.operator.fan_in
    return sum(_terms(network, network.by_name[name]) for name in node.inputs)
