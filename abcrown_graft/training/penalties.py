"""Terms that graft tuning can add to its loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from abcrown_graft.bounds.interval import interval_boxes
from abcrown_graft.geometry.robustness import linf_box
from abcrown_graft.network.trace import from_module
from abcrown_graft.nn.surgery import grafted_modules
from abcrown_graft.training.settings import TuneSettings


def tuning_penalty(model: nn.Module, images: Tensor, settings: TuneSettings) -> Tensor:
    """The weighted sum of the terms that the settings ask for, a scalar.

    Args:
        model: grafted; maps pixels in [0, 1] to logits.
        images: `(batch, *shape)`, in [0, 1].
        settings: weights of the terms, target of the slopes, and the radius.
    """
    total = images.new_zeros(())
    if settings.slope_decay > 0:
        total = total + settings.slope_decay * slope_distance(model, settings.slope_target)
    if settings.relu_stability > 0:
        total = total + settings.relu_stability * relu_instability(model, images, settings.epsilon)
    return total


def slope_distance(model: nn.Module, target: float) -> Tensor:
    """½ Σ (slope − target)² over the grafted neurons; its gradient is SGD's weight decay around `target`."""
    grafted = grafted_modules(model).values()
    return 0.5 * torch.stack([(module.slope - target)[module.mask].square().sum() for module in grafted]).sum()


def relu_instability(model: nn.Module, images: Tensor, epsilon: float) -> Tensor:
    """Mean over images of Σ over activations of the mean of −tanh(1 + l·u) over their neurons that are not grafted.

    The pre-activation bounds l and u over the ε-ball (cut to valid pixels) are the interval's, of the network in eval
    mode. Per neuron the value is near −1 where it is far from unstable, near 1 where l is far below 0 and u above.

    Source: Xiao et al., *Training for faster adversarial robustness verification via inducing ReLU stability*,
    ICLR 2019, section 3.3; there it is summed over neurons, here averaged per activation, so that one weight suits
    networks of any size.

    Args:
        model: maps pixels in [0, 1] to logits.
        images: `(batch, *shape)`, in [0, 1].
        epsilon: radius in pixel units.
    """
    with torch.autocast(images.device.type, enabled=False):
        network = from_module(model, images.shape[1:], attached=True)
        boxes = interval_boxes(network, linf_box(images, epsilon))
        total = images.new_zeros(())
        for node in network.activations:
            z = boxes[node.inputs[0]]
            value = -torch.tanh(1 + z.lower * z.upper)
            grafted = network.activation(node.name).grafted
            if grafted is not None:
                value = value[:, ~grafted]
            if value.numel():
                total = total + value.mean()
        return total
