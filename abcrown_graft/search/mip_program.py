"""A mixed-integer program over the core, after Tjeng et al. 2019 ("Evaluating Robustness of Neural Networks with
Mixed Integer Programming", equations 4 to 7), with the affine part of the network substituted.

With y_k = relu(z_k), z_k = L_k x + sum_j M_kj y_j + c_k in [l, u] and a in {0, 1}, every neuron has the rows

    y >= z - e,    y <= z + e - l (1 - a),    0 <= y <= u a,

e being the layer's `error`. The true (x, y, [z > 0]) of any x in the box satisfies them, so they are a
relaxation of the truth, exact but for e. For each clause the largest of its literals, each less its
`out_error`, is minimised: t with t >= every literal, or the literal itself if it is the only one.

**What is trusted.** Solvers compute in floating point, and no certificate comes out of their trees. The proof
assumes that a solver's answer is right for *some* program whose row limits, bounds of variables and costs each
differ by at most TAU from those it was given, and whose coefficients by at most RHO, absolutely and relatively;
it runs at tolerances of 1e-9, half of TAU, and drops no coefficient above 1e-12. To allow for that, every row
with coefficients r and limit b over variables of |v_j| <= R_j is widened by

    TAU (1 + sum_j |r_j|) + RHO (|b| + sum_j (1 + |r_j|) R_j),

because then a true point, each of its entries moved by at most TAU into the altered bounds, still satisfies
every altered row. The objective is lowered by the same, and by TAU sum_j R_j for altered costs. All of this is
part of the program, so that a positive bound of its minimum is the proof. A clause whose true minimum lies
within these widths, typically 1e-6, stays `unknown`. Whoever needs a checked proof wants `bab`, whose
certificates are recomputed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.sparse import csr_array, hstack, vstack
from torch import Tensor

from abcrown_graft.core.block import Block
from abcrown_graft.core.core import Core

TAU = 2e-9
RHO = 1e-12


@dataclass(frozen=True, eq=False)
class Program:
    """`min cost v + offset` over `row_lower <= rows v <= row_upper` and `lower <= v <= upper`, some v in {0, 1}.

    Attributes:
        cost: `(n,)`; offset: a number.
        rows: sparse, `(m, n)`; row_lower, row_upper: `(m,)`, infinite where there is no limit.
        lower, upper: `(n,)`.
        binary: which variables are 0 or 1, `(n,)`.
    """

    cost: np.ndarray
    offset: float
    rows: csr_array
    row_lower: np.ndarray
    row_upper: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    binary: np.ndarray


def is_sane(core: Core) -> bool:
    """Whether all numbers are finite and no interval is empty: from anything else, anything could be proved."""
    if not all(bool(torch.isfinite(numbers).all()) for numbers in _numbers(core)):
        return False
    ends = [(core.lower, core.upper), *((layer.lower, layer.upper) for layer in core.layers)]
    return all(bool((lower <= upper).all()) for lower, upper in ends)


def _numbers(core: Core) -> Iterator[Tensor]:
    yield from (core.lower, core.upper, core.out_constant, core.out_error)
    yield from (block.dense() for block in (core.out_input, *core.out_layers))
    for layer in core.layers:
        yield from (layer.lower, layer.upper, layer.constant, layer.error)
        yield from (block.dense() for block in (layer.from_input, *layer.from_layers.values()))


def used_inputs(core: Core) -> Tensor:
    """Which inputs some row depends on, `(d,)`; one at least, as solvers want a variable."""
    used = (core.out_input.dense() != 0).any(0)
    for layer in core.layers:
        used = used | (layer.from_input.dense() != 0).any(0)
    used[:1] |= ~used.any()
    return used


def constraints(core: Core, used: Tensor) -> Program:
    """The box and the neurons, without an objective. Variables: the used inputs, all y, all a."""

    def joined(parts: Iterator[Tensor]) -> np.ndarray:
        return torch.cat([core.lower[:0], *parts]).numpy()

    low, high = joined(layer.lower for layer in core.layers), joined(layer.upper for layer in core.layers)
    constant, error = joined(layer.constant for layer in core.layers), joined(layer.error for layer in core.layers)
    n, inputs = len(low), int(used.sum())
    zero, one, infinite = np.zeros(n), np.ones(n), np.full(n, np.inf)
    y = hstack([csr_array((n, inputs)), _diagonal(one)], format="csr")
    y_less_z = y - _linear_part(core, used)
    rows = vstack(
        [
            hstack([y_less_z, csr_array((n, n))]),
            hstack([y_less_z, _diagonal(-low)]),
            hstack([y, _diagonal(-high)]),
        ],
        format="csr",
    )
    box_lower, box_upper = core.lower[used].numpy(), core.upper[used].numpy()
    lower, upper = np.concatenate([box_lower, zero, zero]), np.concatenate([box_upper, high.clip(min=0), one])
    limits = np.concatenate([constant, constant - low, zero])
    width = np.concatenate([error, error, zero]) + _width(rows, limits, _reach(lower, upper))
    row_lower = np.concatenate([constant - width[:n], -infinite, -infinite])
    row_upper = np.concatenate([infinite, (limits + width)[n:]])
    binary = np.arange(len(lower)) >= inputs + n
    return Program(np.zeros(len(lower)), 0.0, rows, row_lower, row_upper, lower, upper, binary)


def _linear_part(core: Core, used: Tensor) -> csr_array:
    """L and M of all neurons side by side, `(neurons, used inputs + neurons)`."""
    sizes = core.sizes
    rows = [csr_array((0, int(used.sum()) + sum(sizes)))]
    for layer, n in zip(core.layers, sizes, strict=True):
        known = layer.from_layers
        blocks = [_sparse(known[j]) if j in known else csr_array((n, m)) for j, m in enumerate(sizes)]
        rows.append(hstack([csr_array(layer.from_input.dense()[:, used].numpy()), *blocks]))
    return vstack(rows, format="csr")


def with_objective(core: Core, base: Program, used: Tensor, member: Tensor) -> Program:
    """The program whose minimum is that of the largest of a clause's literals.

    Args:
        core: in float64.
        base: its `constraints`.
        used: its `used_inputs`, `(d,)`.
        member: which literals are the clause's, `(literals,)`, boolean.
    """
    parts = [core.out_input.dense()[member][:, used], *(block.dense()[member] for block in core.out_layers)]
    literals = torch.cat(parts, dim=1).numpy()
    literals = np.pad(literals, ((0, 0), (0, len(base.cost) - literals.shape[1])))
    constant = (core.out_constant - core.out_error)[member].numpy()
    if len(literals) == 1:
        return _lowered(replace(base, cost=literals[0], offset=float(constant[0])))
    ends = [_interval(literals, base, side) + constant for side in (1, -1)]
    rows = vstack([base.rows, csr_array(literals)])
    t = np.append(np.zeros(len(base.row_lower)), -np.ones(len(literals)))
    rows = hstack([rows, csr_array(t[:, None])], format="csr")
    lower, upper = np.append(base.lower, ends[0].max() - 1), np.append(base.upper, ends[1].max() + 1)
    width = _width(rows[len(base.row_lower) :], constant, _reach(lower, upper))
    return _lowered(
        Program(
            cost=np.append(base.cost, 1.0),
            offset=0.0,
            rows=rows,
            row_lower=np.append(base.row_lower, np.full(len(constant), -np.inf)),
            row_upper=np.append(base.row_upper, width - constant),
            lower=lower,
            upper=upper,
            binary=np.append(base.binary, False),
        )
    )


def _lowered(program: Program) -> Program:
    """With the objective lowered by what altered costs, bounds and coefficients can add to it."""
    reach = _reach(program.lower, program.upper)
    width = _width(csr_array(program.cost[None]), np.array([program.offset]), reach)
    return replace(program, offset=program.offset - float(width[0]) - TAU * float(reach.sum()))


def _width(rows: csr_array, limits: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """How far altered limits, bounds and coefficients can move rows, `(m,)`; the module's docstring derives it."""
    size = abs(rows)
    entries = csr_array((np.ones_like(rows.data), rows.indices, rows.indptr), shape=rows.shape)
    width: np.ndarray = TAU * (1 + size.sum(axis=1)) + RHO * (abs(limits) + (size + entries) @ reach)
    return width


def least_value(program: Program) -> float:
    """A lower bound of the objective: its minimum over the variables' bounds."""
    return float(_interval(program.cost, program)) + program.offset


def _reach(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    reach: np.ndarray = np.maximum(abs(lower), abs(upper))
    return reach


def _interval(rows: np.ndarray, program: Program, side: int = 1) -> np.ndarray:
    """The least value (the largest for side = -1) of linear functions `(k, n)` over the variables' bounds."""
    ends = (program.lower, program.upper)[::side]
    values: np.ndarray = np.maximum(rows, 0) @ ends[0] + np.minimum(rows, 0) @ ends[1]
    return values


def _diagonal(values: np.ndarray) -> csr_array:
    every = np.arange(len(values))
    return csr_array((values, (every, every)), shape=(len(values), len(values)))


def _sparse(block: Block) -> csr_array:
    return csr_array(block.dense().numpy())
