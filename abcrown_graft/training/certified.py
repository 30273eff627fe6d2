"""Certified training: losses made of sound bounds of the margins, differentiable in the weights.

Sources: Gowal et al., *On the effectiveness of interval bound propagation for training verifiably robust models*,
2018 (IBP: eq. 11 and 12, last layer and specification merged: section 3); Zhang et al., *Towards stable and efficient
training of verifiably robust neural networks*, ICLR 2020 (CROWN-IBP: eq. 12).

Bounds are those of the verification (`bounds/`), of the network in eval mode, in the precision of the weights. What
they say of a network is not a certificate: rounding is not accounted for here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abcrown_graft.bounds.backward import lower_bound, minimum_over_box
from abcrown_graft.bounds.interval import interval_boxes
from abcrown_graft.geometry.box import Box
from abcrown_graft.geometry.robustness import linf_box, robustness_rows
from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network
from abcrown_graft.network.trace import from_module
from abcrown_graft.training.method import BatchLoss
from abcrown_graft.training.modes import device_of

BATCH = 100  # images whose margins are bounded at a time in validation


def certified_loss(
    model: nn.Module, images: Tensor, labels: Tensor, epsilon: float, kappa: float, beta: float
) -> BatchLoss:
    """κ · cross-entropy of the clean images + (1 − κ) · cross-entropy of the worst logits that the bounds allow.

    Args:
        model: pixels `(batch, *shape)` in [0, 1] to logits; its own mode counts for the clean pass alone.
        images, labels: `(batch, *shape)` and `(batch,)`.
        epsilon: radius in pixel units.
        kappa: κ, in [0, 1].
        beta: in [0, 1], the share of CROWN's bound; the rest is that of interval arithmetic.
    """
    logits = model(images)
    clean = F.cross_entropy(logits, labels)
    if kappa == 1:
        return BatchLoss(clean, logits)
    with torch.autocast(images.device.type, enabled=False):
        network = from_module(model, images.shape[1:], attached=True)
        margins = margin_bounds(network, linf_box(images, epsilon), labels, beta)
        loss = kappa * clean + (1 - kappa) * worst_cross_entropy(margins)
    return BatchLoss(loss, logits)


def margin_bounds(network: Network, box: Box, labels: Tensor, beta: float) -> Tensor:
    """Lower bounds `(batch, classes - 1)` of the label's logit minus each other's.

    Args:
        network: in the precision of the box; attached if gradients are wanted.
        box: of images, `(batch, *shape)`.
        labels: `(batch,)`.
        beta: in [0, 1], the share of CROWN's bound; the rest is that of interval arithmetic.
    """
    boxes = interval_boxes(network, box)
    rows = robustness_rows(labels, network.output.shape[0], box.lower.dtype)
    if beta == 0:
        return interval_margins(network, boxes, rows)
    lines = {node.name: network.activation(node.name).relax(boxes[node.inputs[0]]) for node in network.activations}
    crown = lower_bound(network, network.output.name, rows, lines, box)
    return crown if beta == 1 else beta * crown + (1 - beta) * interval_margins(network, boxes, rows)


def interval_margins(network: Network, boxes: dict[str, Box], rows: Tensor) -> Tensor:
    """Interval lower bounds `(batch, spec)` of linear functions of the output, merged into a last affine operator.

    Args:
        network: the graph.
        boxes: of its nodes, see `interval_boxes`.
        rows: coefficients `(batch, spec, outputs)`.
    """
    last = network.output
    if not isinstance(last.operator, op.AffineOperator):
        return minimum_over_box(rows, boxes[last.name])
    parts, constant = last.operator.pull_back(rows.flatten(0, 1), network.input_shapes(last.name))
    margins = (
        minimum_over_box(merged.unflatten(0, rows.shape[:2]), boxes[source])
        for source, merged in zip(last.inputs, parts, strict=True)
    )
    added = constant.view(rows.shape[:2]) if isinstance(constant, Tensor) else rows.new_full(rows.shape[:2], constant)
    return sum(margins, added)


def worst_cross_entropy(margins: Tensor) -> Tensor:
    """Mean of log(1 + Σ exp(−margin)), the cross-entropy if every margin `(batch, classes - 1)` is at its bound."""
    return torch.cat([torch.zeros_like(margins[:, :1]), -margins], 1).logsumexp(1).mean()


@torch.no_grad()
def certified_accuracy(model: nn.Module, images: Tensor, labels: Tensor, epsilon: float, crown: bool) -> float:
    """The share of images whose margins all have a positive lower bound, in [0, 1]; NaN is not positive.

    Args:
        model: looked at in eval mode, on its own device.
        images, labels: `(n, *shape)`, in [0, 1], and `(n,)`.
        epsilon: radius in pixel units.
        crown: take the better of CROWN's (over interval bounds) and the interval's bound for every margin, not the
            interval's alone.
    """
    device = device_of(model)
    network = from_module(model, images.shape[1:])
    certified = 0
    for x, y in zip(images.split(BATCH), labels.split(BATCH), strict=True):
        box, y = linf_box(x.to(device), epsilon), y.to(device)
        margins = margin_bounds(network, box, y, 0.0)
        if crown:
            margins = torch.maximum(margins, margin_bounds(network, box, y, 1.0))
        certified += int((margins > 0).all(1).sum())
    return certified / len(images)
