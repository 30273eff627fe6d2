"""Networks and images for the measurements of `plugin.py`; α,β-CROWN's process imports this file by its name.

The routes are three ways to give α,β-CROWN the same grafted network:

    plugin    our operator; grafted neurons are not bounded as intermediate neurons
    rows      our operator, without leaving these rows out
    example   its own example, custom/custom_op.py, with branching made to accept its four inputs
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from abcrown_graft.models.load import ModelSource, load_model
from abcrown_graft.nn.surgery import grafted_modules

ROUTES = ("plugin", "rows", "example")


def toy() -> nn.Module:
    """α,β-CROWN's models/toy/mnist_2_20.pth: twenty neurons."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 20), nn.ReLU(), nn.Linear(20, 10))


def source(name: str, checkpoint: str) -> ModelSource:
    """Where the network comes from; `toy` is the function above."""
    if name == "toy":
        here = str(Path(__file__).resolve())
        return ModelSource(f'Customized("{here}", "toy")', input_shape=(1, 28, 28), checkpoint=Path(checkpoint))
    return ModelSource(name, checkpoint=Path(checkpoint))


def network(name: str, checkpoint: str, route: str) -> nn.Module:
    """A grafted network, without normalisation, as the route has it."""
    from abcrown_graft.engines.abcrown.network import as_abcrown_network

    core = load_model(source(name, checkpoint)).core
    return _example(core) if route == "example" else as_abcrown_network(core)


def _example(core: nn.Module) -> nn.Module:
    """The network in terms of α,β-CROWN's example operator, whose first input is the pre-activation."""
    import heuristics.babsr as babsr
    from custom.custom_op import BoundLinearMaskedRelu, LinearMaskedRelu
    from heuristics.utils import get_babsr_biases

    for name, module in grafted_modules(core).items():
        example = LinearMaskedRelu(tuple(module.mask.shape))
        example.mask, example.slope = module.mask.to(module.slope), module.slope.detach()
        example.bias = module.intercept.detach()
        parent, _, last = name.rpartition(".")
        setattr(core.get_submodule(parent), last, example)
    from auto_LiRPA import register_custom_op

    register_custom_op("customOp::LinearMaskedRelu", BoundLinearMaskedRelu)

    class FirstInput:
        def __init__(self, act: Any) -> None:
            self.inputs = act.inputs[:1]

    babsr.get_preact_params = lambda act: get_babsr_biases(FirstInput(act))[0]
    return core.eval()


def instances(specification: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The images of `plugin.py`, normalised; so is the box."""
    with np.load(path, allow_pickle=False) as arrays:
        images, labels, mean, std = (torch.from_numpy(arrays[key]) for key in ("images", "labels", "mean", "std"))
    ends = {"data_min": ((0 - mean) / std)[None], "data_max": ((1 - mean) / std)[None]}
    found = {"X": (images - mean) / std, "labels": labels, "eps": (specification["epsilon"] / std)[None], **ends}
    return found | {"norm": float("inf"), "runnerup": None, "target_label": None}
