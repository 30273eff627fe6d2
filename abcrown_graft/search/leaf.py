"""Subproblems in which every neuron is split: a linear program, solved by HiGHS."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from abcrown_graft.core.core import Core
from abcrown_graft.search.dual import Duals, dual_bound, slices

PENALTY = 1e4


def solve_leaf(core: Core, leaf: Duals) -> tuple[Tensor, Tensor]:
    """Multipliers `(neurons, 1)` of the best bound of a fully split subproblem, and its minimiser `(d,)`.

    The program is `min margin(x) + PENALTY * slack` over the box with `s z >= -slack`, which always has
    a solution: where the splits contradict one another its value is large, so its multipliers prove
    the subproblem empty. The bound that they give is for `certified_bound` to check.

    Args:
        core: in float64.
        leaf: one subproblem, no neuron free.
    """
    from scipy.optimize import linprog

    sign = leaf.split[:, 0].double()
    weights, constants = _substituted(core, sign)
    margin, _ = _margin(core, int(leaf.spec[0]), weights, constants, sign)
    cost = np.append(margin.cpu().numpy(), PENALTY)
    rows = torch.cat([-sign.unsqueeze(1) * weights, -torch.ones(len(sign), 1, dtype=torch.float64)], dim=1)
    limits = [*zip(core.lower.tolist(), core.upper.tolist(), strict=True), (0, None)]
    found = linprog(cost, A_ub=rows.cpu().numpy(), b_ub=(sign * constants).cpu().numpy(), bounds=limits)
    if found.status != 0:
        return torch.zeros_like(leaf.beta), (core.lower + core.upper) / 2
    beta = torch.as_tensor(-found.ineqlin.marginals).clamp(min=0).unsqueeze(1).to(core.lower)
    exact = replace(leaf, split=sign.unsqueeze(1), alpha=leaf.alpha.double(), beta=beta)
    return dual_bound(core, exact).multipliers, torch.as_tensor(found.x[:-1]).to(core.lower)


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
    return torch.cat([core.out_input[:0], *weights]), torch.cat([core.out_constant[:0], *constants])


def _margin(core: Core, spec: int, weights: Tensor, constants: Tensor, sign: Tensor) -> tuple[Tensor, Tensor]:
    active = torch.cat([core.out_constant[:0], *(row[spec] for row in core.out_layers)]) * (sign > 0)
    return core.out_input[spec] + active @ weights, core.out_constant[spec] + active @ constants
