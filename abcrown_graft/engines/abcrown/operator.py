"""The grafted activation inside α,β-CROWN: a torch module and its bound operator.

The module is exported as a custom operator with a single input, so that the node in front of it stays the
convolution or linear layer that α,β-CROWN's patches mode and branching scores expect. Mask, slope and intercept are no
inputs of the operator: the exported graph holds a key, and the bound operator finds the traced module by it.

A grafted neuron is `y = slope * z + intercept`, its own exact linear bound: it never counts as unstable, is never
split, and has no α.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

import torch
from auto_LiRPA import register_custom_op
from auto_LiRPA.bound_ops import BoundRelu
from torch import Tensor, nn

from abcrown_graft.engines.abcrown.encoding import encode_activation
from abcrown_graft.errors import MaskError, ModelError, UnsupportedError
from abcrown_graft.masks.mask import as_boolean
from abcrown_graft.network.operators.grafted_relu import grafted_relu
from abcrown_graft.network.translation import module_rule
from abcrown_graft.nn.activation import GraftedReLU

OPERATOR = "abcrownGraft::GraftedReLU"

# The modules of the networks that were traced, by key. Weak, so a network and its parameters can be freed.
_TRACED: WeakValueDictionary[str, OneInputGraftedReLU] = WeakValueDictionary()


class OneInputGraftedReLU(GraftedReLU):
    """A grafted activation with fixed parameters that auto_LiRPA can trace.

    It equals the `GraftedReLU` it is made from; mask, slope and intercept are non-persistent buffers, which follow
    the network to another device or precision and are no part of its state dict.

    Args:
        site: name of the activation, for messages.
        mask: of the neurons' shape (no batch), ones and zeros of any type.
        slope, intercept: of that shape, finite.

    Raises:
        MaskError: the mask holds another number than 0 and 1, the shapes differ, or a parameter is not finite.
    """

    def __init__(self, site: str, mask: Tensor, slope: Tensor, intercept: Tensor) -> None:
        nn.Module.__init__(self)
        self.site = site
        _check(site, mask, slope=slope, intercept=intercept)
        self.register_buffer("mask", as_boolean(mask.detach(), f"site {site!r}").clone(), persistent=False)
        self.register_buffer("slope", slope.detach().clone(), persistent=False)
        self.register_buffer("intercept", intercept.detach().clone(), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """`(batch, *neurons)` to the same shape."""
        return _Apply.apply(z, self)


module_rule(OneInputGraftedReLU)(grafted_relu)


class _Apply(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, graft: OneInputGraftedReLU) -> Tensor:
        ctx.save_for_backward(z)
        ctx.graft = graft
        return _activation(graft, z)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (z,) = ctx.saved_tensors
        return gradient * torch.where(ctx.graft.mask, ctx.graft.slope, (z > 0).to(z)), None

    @staticmethod
    def symbolic(graph: Any, z: Any, graft: OneInputGraftedReLU) -> Any:
        key = f"{graft.site}#{id(graft)}"
        _TRACED[key] = graft
        return graph.op(OPERATOR, z, key_s=key).setType(z.type())


def _activation(graft: Any, z: Tensor) -> Tensor:
    return torch.where(graft.mask, graft.slope * z + graft.intercept, z.relu())


def _check(site: str, mask: Tensor, **parameters: Tensor) -> None:
    for name, values in parameters.items():
        if values.shape != mask.shape:
            raise MaskError(f"site {site!r}: {name} of shape {tuple(values.shape)}, the mask's is {tuple(mask.shape)}")
        if not bool(torch.isfinite(values).all()):
            raise MaskError(f"site {site!r}: {name} has NaN or infinite entries; tune the network again")


class BoundGraftedRelu(BoundRelu):
    """Bounds of the operator: ReLU's, with the lines of the grafted neurons put in.

    It is a `BoundRelu` because α,β-CROWN's sparse bounds, sparse α, patches and list of ReLUs ask for one. Rules of
    ReLU that know nothing of the lines are overridden or refused.
    """

    mask: Tensor
    slope: Tensor
    intercept: Tensor

    def __init__(self, attr: Any = None, inputs: Any = None, output_index: int = 0, options: Any = None) -> None:
        super().__init__(attr, inputs, output_index, options)
        key = (attr or {}).get("key")
        graft = _TRACED.get(key) if key is not None else None
        if graft is None:
            raise ModelError(f"grafted activation {key!r}: its network no longer exists; keep the module it is part of")
        self.site = graft.site
        self.leaky_alpha = 0
        for name in ("mask", "slope", "intercept"):
            self.register_buffer(name, getattr(graft, name).clone().to(self.device), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The activation; the base class reads shape and size of the layer from attributes set here."""
        self.shape = x.shape[1:]
        self.flattened_nodes = self.shape.numel()
        return _activation(self, x)

    def interval_propagate(self, *v: Any) -> tuple[Tensor, Tensor]:
        """The images of the ends of the interval; a falling line swaps them."""
        ends = _activation(self, v[0][0]), _activation(self, v[0][1])
        return torch.minimum(*ends), torch.maximum(*ends)

    def bound_backward(self, *args: Any, **kwargs: Any) -> Any:
        """One step of CROWN's backward pass.

        Raises:
            UnsupportedError: cutting planes are on; their ReLU relaxations know nothing of grafted neurons.
        """
        if self.cut_used:
            raise UnsupportedError("bab.cut: cutting planes would treat grafted neurons as ReLUs; switch them off")
        return super().bound_backward(*args, **kwargs)

    def _backward_relaxation(self, last_lA: Any, last_uA: Any, x: Any, start_node: Any, unstable_idx: Any) -> Any:
        """ReLU's lines `(spec or 1, batch, *neurons)`, those of grafted neurons replaced by their own."""
        parts = super()._backward_relaxation(last_lA, last_uA, x, start_node, unstable_idx)
        upper_d, upper_b, lower_d, lower_b, *own_d, lb_upper_b, ub_upper_b, lookup = parts
        self.zero_backward_coeffs_l = self.zero_backward_coeffs_u = False  # the base sets them where all ReLUs are off
        lower_b = torch.zeros_like((self if x is None else x).lower)[None] if lower_b is None else lower_b
        upper_d, lower_d, *own_d = (self._put(self.slope, part) for part in (upper_d, lower_d, *own_d))
        upper_b, lower_b, lb_upper_b, ub_upper_b = (
            self._put(self.intercept, part) for part in (upper_b, lower_b, lb_upper_b, ub_upper_b)
        )
        return upper_d, upper_b, lower_d, lower_b, *own_d, lb_upper_b, ub_upper_b, lookup

    def _put(self, line: Tensor, part: Tensor | None) -> Tensor | None:
        return None if part is None else torch.where(self.mask, line.to(part.dtype), part)

    def get_split_mask(self, lower: Tensor, upper: Tensor, input_index: int) -> Tensor:
        """Neurons that branching may split.

        Args:
            lower, upper: bounds of the pre-activations, `(batch, *neurons)`.
            input_index: which input of the operator they are of; it has but one.

        Returns:
            Boolean, `(batch, *neurons)`.
        """
        return super().get_split_mask(lower, upper, input_index) & ~self._mask_like(lower)

    def get_unstable_mask(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Boolean `(batch, *neurons)`: neurons whose bounds are worth tightening."""
        return super().get_unstable_mask(lower, upper) & ~self._mask_like(lower)

    def compute_bound_improvement_heuristics(self, lower: Tensor, upper: Tensor) -> Tensor:
        """How much tightening each neuron's bounds is worth, `(batch, *neurons)`."""
        return super().compute_bound_improvement_heuristics(lower, upper) * ~self._mask_like(lower)

    def get_unstable_idx(self) -> None:
        """Notes which neurons get α: those unstable for some element of the batch."""
        unstable = self.get_unstable_mask(self.inputs[0].lower, self.inputs[0].upper)
        self.alpha_indices = unstable.any(dim=0).nonzero(as_tuple=True)

    def _mask_like(self, bounds: Tensor) -> Tensor:
        return self.mask.to(bounds.device).reshape(bounds.shape[1:])

    def build_solver(
        self, *v: Any, model: Any, C: Any = None, model_type: str = "mip", solver_pkg: str = "gurobi"
    ) -> None:
        """Adds the activation to a linear or mixed-integer program, see `encoding`.

        Args:
            v: variables of the pre-activations, nested lists of the neurons' shape.
            model: the solver's, which has a variable `zero`.
            C, solver_pkg: of auto_LiRPA's signature; this operator has no use for them.
            model_type: one of `encoding.MODEL_TYPES`.
        """
        encode_activation(self, v[0], model, model_type)

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        """Stands for the rules that would bound grafted neurons as ReLUs.

        Raises:
            UnsupportedError: always.
        """
        raise UnsupportedError(
            f"site {self.site!r}: forward bounds and Jacobians of grafted activations are not implemented; "
            "use a backward method (solver.bound_prop_method: crown, alpha-crown)"
        )

    bound_forward: Callable[..., Any] = _refuse
    bound_dynamic_forward: Callable[..., Any] = _refuse
    _forward_relaxation: Callable[..., Any] = _refuse
    build_gradient_node: Callable[..., Any] = _refuse


def bound_operator(
    attr: Any = None, inputs: Any = None, output_index: int = 0, options: Any = None
) -> BoundGraftedRelu:
    """The bound operator of a traced activation, of a class of its own.

    auto_LiRPA merges activations of the same class that read the same node; two grafted ones may differ.

    Args:
        attr: attributes of the exported node; `key` finds the traced module.
        inputs, output_index, options: as auto_LiRPA passes them to every bound operator.
    """
    return type("BoundGraftedRelu", (BoundGraftedRelu,), {})(attr, inputs, output_index, options)


def register_operator() -> None:
    """Makes auto_LiRPA know the operator, in this process; any number of times."""
    register_custom_op(OPERATOR, bound_operator)
