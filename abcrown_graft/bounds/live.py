"""CROWN bounds of single neurons of one image, on its live neurons.

On the way to the input, each activation ends a shorter pass: over the box of its output (and of what
else the functions still depend on) the bound is sound too. A neuron that this decides goes no further.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from abcrown_graft.bounds.sparse import Columns, LiveNetwork
from abcrown_graft.geometry.box import Box
from abcrown_graft.network.graph import Network
from abcrown_graft.network.relaxation import Relaxation

FUNCTIONS_PER_PASS = 512
WORTH_LEAVING = 0.25  # share of decided functions from which copying the rest pays


class ImageBounds:
    """Bounds of neurons of one image.

    Args:
        network: `sparse.fits(network)` holds.
        image: number of the image in the batch.
        relaxations: of every activation before the neurons, by site.
        boxes: of every node before the neurons, by name.
    """

    def __init__(
        self, network: Network, image: int, relaxations: Mapping[str, Relaxation], boxes: Mapping[str, Box]
    ) -> None:
        self._lines = {
            site: Relaxation(*(values[image].flatten() for values in vars(lines).values()))
            for site, lines in relaxations.items()
        }
        self._boxes, self._image = boxes, image
        self._input = network.input.name
        live = {site: _any_nonzero(*vars(lines).values()) for site, lines in self._lines.items()}
        self._network = LiveNetwork(network, live)

    def lower(self, name: str, neuron: Tensor, sign: Tensor, enough: Tensor | None = None) -> Tensor:
        """Lower bounds `(rows,)` of neurons times their signs.

        Args:
            name: node of the neurons.
            neuron, sign: as in `windowed.bound_neurons`.
            enough: a bound that reaches this value, `(rows,)`, is not improved; None improves all.
        """
        parts = range(0, len(neuron), FUNCTIONS_PER_PASS)
        pieces = [slice(at, at + FUNCTIONS_PER_PASS) for at in parts]
        return torch.cat([self._pass(name, neuron[p], sign[p], None if enough is None else enough[p]) for p in pieces])

    def _pass(self, name: str, neuron: Tensor, sign: Tensor, enough: Tensor | None) -> Tensor:
        best = torch.full_like(sign, -torch.inf)
        going, sites = torch.arange(len(neuron)), 0

        def improve(functions: Mapping[str, Columns], constant: Tensor) -> None:
            least = sum(self._least(node, part) for node, part in functions.items())
            best[going] = torch.maximum(best[going], constant + least)

        def undecided(site: str, functions: Mapping[str, Columns], constant: Tensor) -> Tensor | None:
            nonlocal going, sites
            sites += 1
            if enough is None or sites == 1:  # over the nearest activations the bound is the interval's
                return None
            improve(functions, constant)
            left = (~(best[going] >= enough[going])).nonzero().flatten()
            if len(left) > (1 - WORTH_LEAVING) * len(going):
                return None
            going = going[left]
            return left

        at_input, constant = self._network.pull_to_input(name, _units(neuron, sign), self._through_lines, undecided)
        improve({self._input: at_input}, constant)
        return best

    def _least(self, node: str, functions: Columns) -> Tensor:
        box = self._boxes[node]
        return functions.least(box.lower[self._image].flatten(), box.upper[self._image].flatten())

    def _through_lines(self, site: str, functions: Columns) -> tuple[Columns, Tensor]:
        """As in `backward`; neurons without a slope end here."""
        lines, kept, values = self._lines[site], functions.kept, functions.values
        shifted = _any_nonzero(lines.upper_intercept[kept])
        constant = lines.upper_intercept[kept[shifted]] @ values[shifted].clamp(max=0)
        if bool(lines.lower_intercept.any()):
            constant = constant + lines.lower_intercept[kept] @ values.clamp(min=0)
        sloped = _any_nonzero(lines.lower_slope[kept], lines.upper_slope[kept])
        if len(sloped) < len(kept):
            kept, values = kept[sloped], values[sloped]
        lower, upper = lines.lower_slope[kept], lines.upper_slope[kept]
        pulled = values * lower.unsqueeze(1)
        relaxed = (lower != upper).nonzero().flatten()
        steeper = values[relaxed]
        slope = torch.where(steeper >= 0, lower[relaxed].unsqueeze(1), upper[relaxed].unsqueeze(1))
        return Columns(kept, pulled.index_copy_(0, relaxed, slope.mul_(steeper))), constant


def _units(neuron: Tensor, sign: Tensor) -> Columns:
    kept, row = neuron.unique(return_inverse=True)
    values = sign.new_zeros(len(kept), len(neuron))
    values[row, torch.arange(len(neuron))] = sign
    return Columns(kept, values)


def _any_nonzero(*values: Tensor) -> Tensor:
    """Numbers of the elements that are not zero (or not a number) in any of the given vectors."""
    return torch.stack([v != 0 for v in values]).any(0).nonzero().flatten()
