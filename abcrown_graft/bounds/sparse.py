"""CROWN's backward pass for one image at a time, on sparse matrices of live neurons.

Within one image most neurons are inactive: their lines are zero, so neither their rows nor their
columns of the affine operators are needed. What is left has few enough entries for compressed
sparse rows to beat convolutions on a CPU. Coefficients are kept transposed, one column for each
linear function, and only for the neurons where they can differ from zero.

The mathematics, the products and their sums are those of `backward`; what is left out is zero.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from abcrown_graft.bounds.reverse import pull_to_input
from abcrown_graft.errors import UnsupportedError
from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network, Node

MAX_ENTRIES = 2**23  # of one operator's matrix; beyond, convolutions are large enough to be fast


@dataclass(frozen=True, eq=False)
class Columns:
    """Linear functions of a flattened node, one per column.

    Attributes:
        kept: numbers of the neurons with coefficients, ascending, `(n,)`; all others' are zero.
        values: coefficients `(n, functions)`.
    """

    kept: Tensor
    values: Tensor

    def __add__(self, other: Columns) -> Columns:
        if torch.equal(self.kept, other.kept):
            return Columns(self.kept, self.values + other.values)
        kept = torch.cat([self.kept, other.kept]).unique()
        values = self.values.new_zeros(len(kept), self.values.shape[1])
        for part in (self, other):
            values.index_add_(0, torch.searchsorted(kept, part.kept), part.values)
        return Columns(kept, values)

    def functions(self, which: Tensor) -> Columns:
        """Some of the functions."""
        return Columns(self.kept, self.values[:, which])

    def least(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Minimum of each function over the box of flattened `lower` and `upper`, `(functions,)`."""
        return lower[self.kept] @ self.values.clamp(min=0) + upper[self.kept] @ self.values.clamp(max=0)

    def at(self, neurons: Tensor) -> Tensor:
        """The coefficients of some neurons, given in ascending order, `(functions, neurons)`."""
        found = self.values.new_zeros(len(neurons), self.values.shape[1])
        place = torch.searchsorted(neurons, self.kept).clamp(max=len(neurons) - 1)
        asked = (neurons[place] == self.kept).nonzero().flatten()
        return found.index_copy_(0, place[asked], self.values[asked]).T


Rule = Callable[[str, Columns], "tuple[Columns, Tensor | float]"]
"""From a site and functions of its output to functions of its input and constants `(functions,)`."""
Filter = Callable[[str, Mapping[str, Columns], Tensor], "Tensor | None"]
"""At a site: which functions, given as a sum over nodes and constants, to go on with; None is all of them."""


@dataclass(frozen=True, eq=False)
class LiveNetwork:
    """A network's affine operators as one image needs them.

    Attributes:
        network: on the CPU; `fits(network)` holds.
        live: by site, the numbers of the neurons whose output is not zero on the whole box, ascending.
    """

    network: Network
    live: Mapping[str, Tensor]
    _restricted: dict[str, tuple[Tensor, list[tuple[Tensor, Tensor]]]] = field(default_factory=dict, init=False)

    def pull_to_input(
        self, start: str, columns: Columns, rule: Rule, chosen: Filter | None = None
    ) -> tuple[Columns, Tensor]:
        """Functions of node `start` as functions of the network's input, and constants `(functions,)`."""

        def thinned(site: str, pending: Mapping[str, Columns], constant: Tensor) -> tuple[dict[str, Columns], Tensor]:
            which = None if chosen is None else chosen(site, pending, constant)
            if which is None:
                return dict(pending), constant
            return {key: part.functions(which) for key, part in pending.items()}, constant[which]

        constant = columns.values.new_zeros(columns.values.shape[1])
        return pull_to_input(self.network, start, columns, constant, rule, self._pull_back, thinned)

    def _pull_back(
        self, node: Node, operator: op.AffineOperator, functions: Columns
    ) -> tuple[list[Columns], Tensor | float]:
        added = network_constant(self.network, node.name)
        constant = 0.0 if added is None else added[functions.kept] @ functions.values
        diagonal = operator.diagonal(node.shape)
        if isinstance(diagonal, Tensor):
            scaled = functions.values * diagonal[functions.kept].unsqueeze(1)
            return [Columns(functions.kept, scaled)] * len(node.inputs), constant
        if diagonal is not None:
            same = functions if diagonal == 1 else Columns(functions.kept, functions.values * diagonal)
            return [same] * len(node.inputs), constant
        known = self._restricted.get(node.name)
        if known is None or not torch.equal(known[0], functions.kept):
            pairs = zip(node.inputs, network_matrices(self.network, node.name), strict=True)
            known = (functions.kept, [self._restrict(source, matrix, functions.kept) for source, matrix in pairs])
            self._restricted[node.name] = known
        return [Columns(kept, torch.sparse.mm(part, functions.values, "sum")) for kept, part in known[1]], constant

    def _restrict(self, source: str, matrix: csr_array, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The transposed matrix of the given rows and of the source's neurons that matter, and those neurons."""
        part = matrix[rows.numpy()]
        kept = self._live(source)
        if kept is None:
            reached = np.zeros(part.shape[1], dtype=bool)
            reached[part.indices] = True
            kept = torch.from_numpy(reached.nonzero()[0])
        if len(kept) < part.shape[1]:
            part = part[:, kept.numpy()]
        return kept, _tensor(part.T.tocsr())

    def _live(self, name: str) -> Tensor | None:
        """The site's live neurons, seen through changes of shape; None where nothing is known."""
        node = self.network.by_name[name]
        while isinstance(node.operator, op.AffineOperator) and node.operator.keeps_numbers:
            node = self.network.by_name[node.inputs[0]]
        return self.live.get(node.name)


def fits(network: Network) -> bool:
    """Whether the network's operators are small enough for matrices, and on the CPU."""
    sizes = (n.operator.entries(n.shape) for n in network.nodes if isinstance(n.operator, op.AffineOperator))
    return network.device.type == "cpu" and all(size <= MAX_ENTRIES for size in sizes)


@lru_cache(maxsize=64)
def network_matrices(network: Network, name: str) -> tuple[csr_array, ...]:
    """The matrices of one affine operator of a network."""
    return _affine(network, name).matrices(network.input_shapes(name), network.dtype)


@lru_cache(maxsize=64)
def network_constant(network: Network, name: str) -> Tensor | None:
    """What one affine operator of a network adds to its flattened output; None is nothing."""
    return _affine(network, name).constant(network.by_name[name].shape)


def _affine(network: Network, name: str) -> op.AffineOperator:
    operator = network.by_name[name].operator
    if not isinstance(operator, op.AffineOperator):
        raise UnsupportedError(f"{name}: operator {type(operator).__name__} has no matrix")
    return operator


def _tensor(matrix: csr_array) -> Tensor:
    starts, columns, values = (torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data))
    return csr_tensor(starts, columns, values, matrix.shape)


def csr_tensor(starts: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The matrix in compressed sparse rows, its parts unchecked; without torch's warning that this is in beta."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(starts, columns, values, tuple(shape), check_invariants=False)
