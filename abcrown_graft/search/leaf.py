"""Subproblems in which every neuron is split: a linear program, solved by HiGHS."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from abcrown_graft.core.certificate import certified_bound
from abcrown_graft.core.core import Core
from abcrown_graft.core.dual import Duals, dual_bound, slices

PENALTY = 1e4


def decide_leaf(core: Core, leaf: Duals) -> tuple[bool, Tensor]:
    """Whether a fully split subproblem is certified, and the point `(d,)` of the smallest clause in it.

    The clause is minimised first; where its splits contradict one another that may prove nothing, and
    the contradiction alone is asked for.

    Args:
        core: in float64.
        leaf: one subproblem, no neuron free.
    """
    device, core, leaf = core.lower.device, core.to("cpu"), leaf.to("cpu", torch.float64)
    mix, multipliers, point = solve_leaf(core, leaf, weight=1.0)
    if certified_bound(core, mix, leaf.split, multipliers)[0] > 0:
        return True, point.to(device)
    mix, multipliers, _ = solve_leaf(core, leaf, weight=0.0)
    return bool(certified_bound(core, mix, leaf.split, multipliers)[0] > 0), point.to(device)


def solve_leaf(core: Core, leaf: Duals, weight: float) -> tuple[Tensor, Tensor, Tensor]:
    """The dual of a fully split subproblem: weights `(literals, 1)`, multipliers `(neurons, 1)`, and the primal `(d,)`.

    The program is `min weight * largest literal + PENALTY * slack` over the box with `s z >= -slack`, which
    always has a solution: where the splits contradict one another its value is large, so its multipliers
    prove the subproblem empty. The bound that they give is for `certified_bound` to check.

    Args:
        core: in float64, on the CPU.
        leaf: one subproblem, no neuron free, likewise.
        weight: of the largest literal, 1; or 0 to ask only whether the splits contradict one another.
    """
    from scipy.optimize import linprog

    sign = leaf.split[:, 0]
    weights, constants = _substituted(core, sign)
    literals, offsets, own = _literals(core, leaf, weights, constants, sign)
    n, d = weights.shape
    left, right = torch.ones(len(sign), 1), torch.zeros(len(sign), 1)
    top = torch.cat([weight * literals, torch.zeros(len(own), 1), -torch.ones(len(own), 1)], dim=1)
    bottom = torch.cat([-sign.unsqueeze(1) * weights, -left, right], dim=1)
    cost = np.append(np.zeros(d), [PENALTY, 1.0])
    limits = [*zip(core.lower.tolist(), core.upper.tolist(), strict=True), (0, None), (None, None)]
    rows, bounds = torch.cat([top, bottom]), torch.cat([-weight * offsets, sign * constants])
    found = linprog(cost, A_ub=rows.numpy(), b_ub=bounds.numpy(), bounds=limits)
    mix = torch.zeros_like(core.out_constant).unsqueeze(1)
    if found.status != 0:
        return mix, torch.zeros(n, 1).to(mix), (core.lower + core.upper) / 2
    prices = torch.as_tensor(-found.ineqlin.marginals).clamp(min=0).to(mix)
    mix[own, 0] = weight * prices[: len(own)]
    beta = prices[len(own) :].unsqueeze(1)
    duals = Duals(mix, leaf.split, beta)
    return mix, dual_bound(core, duals).multipliers, torch.as_tensor(found.x[:d]).to(core.lower)


def _substituted(core: Core, sign: Tensor) -> tuple[Tensor, Tensor]:
    """z of every neuron as an affine function of x alone, given which neurons are active."""
    weights: list[Tensor] = []
    constants: list[Tensor] = []
    rows = slices(core)
    for layer in core.layers:
        w, c = layer.from_input.dense().clone(), layer.constant.clone()
        for j, block in layer.from_layers.items():
            active = block.dense() * (sign[rows[j]] > 0)
            w, c = w + active @ weights[j], c + active @ constants[j]
        weights.append(w)
        constants.append(c)
    return torch.cat([core.lower.expand(0, -1), *weights]), torch.cat([core.out_constant[:0], *constants])


def _literals(
    core: Core, leaf: Duals, weights: Tensor, constants: Tensor, sign: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The literals of the leaf's clause as affine functions of x: `(k, d)`, `(k,)`, and their numbers `(k,)`."""
    own = (core.clause == core.clause[leaf.mix[:, 0].argmax()]).nonzero().flatten()
    of_input, of_layers = core.out_input.dense()[own], [block.dense()[own] for block in core.out_layers]
    active = torch.cat([of_input[:, :0], *of_layers], dim=1) * (sign > 0)
    return of_input + active @ weights, core.out_constant[own] + active @ constants, own
