"""Our networks and images for α,β-CROWN; its process imports this file through `Customized("abcrown_network", ...)`.

A grafted activation is an operator of its own with one input, so that α,β-CROWN's patches mode and branching scores
work as they do for ReLU. Grafted neurons are exact in its bounds, never count as unstable, and are never split; with
`skip_grafted_rows` their own bounds are not computed or optimised either. That is the cheapest treatment that its
interfaces allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MethodType
from typing import Any

import numpy as np
import torch
from auto_LiRPA import BoundedModule, register_custom_op
from auto_LiRPA.bound_ops import BoundRelu
from prepare import config_of
from torch import Tensor, nn

from abcrown_graft.graft.activation import GraftedReLU
from abcrown_graft.pipeline.inputs import configured_model

OPERATOR = "abcrownGraft::Benchmark"


@dataclass(frozen=True, eq=False)
class Graft:
    """A site: boolean mask, slope and intercept, all of the neurons' shape."""

    mask: Tensor
    slope: Tensor
    intercept: Tensor

    def apply(self, z: Tensor) -> Tensor:
        """The activation of `(batch, *neurons)`."""
        return torch.where(self.mask, self.slope * z + self.intercept, z.relu())


GRAFTS: dict[str, Graft] = {}  # by site; the exported graph holds the site's name only


def network(words: list[str]) -> nn.Module:
    """The network of an `abcrown` command line, without normalisation, in terms of the operator below."""
    core = configured_model(config_of(words)).core.eval()
    for name, module in list(core.named_modules()):
        if isinstance(module, GraftedReLU):
            GRAFTS[name] = Graft(module.mask, module.slope.detach(), module.intercept.detach())
            parent, _, last = name.rpartition(".")
            setattr(core.get_submodule(parent), last, GraftedActivation(name))
    register_custom_op(OPERATOR, BoundGraftedRelu)
    return core


def instances(path: str, specification: Mapping[str, Any]) -> dict[str, Any]:
    """The images of `prepare.py`, normalised here: the network takes normalised images, the box is normalised too."""
    arrays = np.load(path, allow_pickle=False)
    mean, std = torch.from_numpy(arrays["mean"]), torch.from_numpy(arrays["std"])
    return {
        "X": (torch.from_numpy(arrays["images"]) - mean) / std,
        "labels": torch.from_numpy(arrays["labels"]),
        "data_min": ((0 - mean) / std)[None],
        "data_max": ((1 - mean) / std)[None],
        "eps": (specification["epsilon"] / std)[None],
        "norm": float("inf"),
        "runnerup": None,
        "target_label": None,
    }


class _Apply(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, site: str) -> Tensor:
        ctx.save_for_backward(z)
        ctx.site = site
        return GRAFTS[site].apply(z)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (z,) = ctx.saved_tensors
        graft = GRAFTS[ctx.site]
        return gradient * torch.where(graft.mask, graft.slope, (z > 0).to(z)), None

    @staticmethod
    def symbolic(graph: Any, z: Any, site: str) -> Any:
        return graph.op(OPERATOR, z, site_s=site)


class GraftedActivation(nn.Module):
    """The grafted activation of one site."""

    def __init__(self, site: str) -> None:
        super().__init__()
        self.site = site

    def forward(self, z: Tensor) -> Tensor:
        """`(batch, *neurons)` to the same shape."""
        return _Apply.apply(z, self.site)


class BoundGraftedRelu(BoundRelu):
    """Bounds of the operator: those of ReLU with the grafted neurons' lines put in."""

    def __init__(self, attr: Any = None, inputs: Any = None, output_index: int = 0, options: Any = None) -> None:
        super().__init__({}, inputs, output_index, options)
        self.graft = GRAFTS[attr["site"]]

    def forward(self, x: Tensor) -> Tensor:
        """The activation; the base class reads shape and size of the layer from attributes."""
        self.shape = x.shape[1:]
        self.flattened_nodes = self.shape.numel()
        return self.graft.apply(x)

    def interval_propagate(self, *v: Any) -> tuple[Tensor, Tensor]:
        """The images of the ends of the interval; a falling line swaps them."""
        ends = self.graft.apply(v[0][0]), self.graft.apply(v[0][1])
        return torch.minimum(*ends), torch.maximum(*ends)

    def _backward_relaxation(self, *args: Any) -> tuple[Any, ...]:
        """Slopes and intercepts `(spec, batch, *neurons)`; the two bounds may have lower lines of their own."""
        (upper, upper_b, lower, lower_b, lower_l, lower_u, *same_slope, lookup) = super()._backward_relaxation(*args)
        if lower_b is not None or any(part is not None for part in same_slope):
            raise NotImplementedError("activation_bound_option: same-slope")
        self.zero_backward_coeffs_l = self.zero_backward_coeffs_u = False  # set where all ReLUs are off
        slope, intercept = self.graft.slope, self.graft.intercept
        upper, lower, lower_l, lower_u = (self._put(slope, part) for part in (upper, lower, lower_l, lower_u))
        lower_b = self._put(intercept, torch.zeros_like(upper_b))
        return upper, self._put(intercept, upper_b), lower, lower_b, lower_l, lower_u, *same_slope, lookup

    def _put(self, line: Tensor, part: Tensor | None) -> Tensor | None:
        return None if part is None else torch.where(self.graft.mask, line.to(part.dtype), part)

    def get_split_mask(self, lower: Tensor, upper: Tensor, input_index: int) -> Tensor:
        """Neurons that branching may split."""
        return super().get_split_mask(lower, upper, input_index) & ~self.graft.mask

    def get_unstable_mask(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Neurons whose bounds are worth tightening."""
        return super().get_unstable_mask(lower, upper) & ~self.graft.mask

    def compute_bound_improvement_heuristics(self, lower: Tensor, upper: Tensor) -> Tensor:
        """How much tightening is worth."""
        return super().compute_bound_improvement_heuristics(lower, upper) * ~self.graft.mask

    def get_unstable_idx(self) -> None:
        """Which neurons get α."""
        unstable = self.get_unstable_mask(self.inputs[0].lower, self.inputs[0].upper)
        self.alpha_indices = unstable.any(dim=0).nonzero(as_tuple=True)

    def _refuse(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("the benchmark's operator has no forward bounds and no linear programs")

    bound_forward = bound_dynamic_forward = _forward_relaxation = build_solver = build_gradient_node = _refuse


def skip_grafted_rows(net: BoundedModule) -> None:
    """Makes grafted neurons look stable where α,β-CROWN decides which pre-activations get backward passes and α.

    Called once per image with the image's own `BoundedModule`. It may compute too few bounds, not wrong ones: a neuron
    that it leaves out keeps its reference bounds, and a grafted one does not use them.
    """
    masks = {node.inputs[0].name: node.graft.mask for node in net.nodes() if isinstance(node, BoundGraftedRelu)}
    choose_rows, choose_unstable = net.get_sparse_C, net.get_unstable_locations

    def get_sparse_C(self: BoundedModule, node: Any, reference: tuple[Any, ...]) -> Any:
        sparse, lower, upper = reference
        if sparse and node.name in masks:
            lower, upper = (bound.masked_fill(masks[node.name], 0) for bound in (lower, upper))
        return choose_rows(node, (sparse, lower, upper))

    def get_unstable_locations(self: BoundedModule, lower: Tensor, upper: Tensor, **options: Any) -> Any:
        mask = next((masks[node.name] for node in net.nodes() if node.name in masks and node.lower is lower), None)
        if mask is not None:
            lower, upper = lower.masked_fill(mask, 0), upper.masked_fill(mask, 0)
        return choose_unstable(lower, upper, **options)

    net.get_sparse_C = MethodType(get_sparse_C, net)
    net.get_unstable_locations = MethodType(get_unstable_locations, net)
