"""CROWN bounds of the neurons that interval arithmetic leaves unstable.

A neuron that is not positive at the centre of the box can turn out inactive; its upper bound comes first,
and once that is not positive, how low the neuron reaches makes no difference to anything after it: its
lower bound stays the interval's. Every other neuron is bounded on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from abcrown_graft.bounds import sparse
from abcrown_graft.bounds.backward import lower_bound
from abcrown_graft.bounds.live import ImageBounds
from abcrown_graft.bounds.rounding import Magnitudes
from abcrown_graft.bounds.windowed import bound_neurons
from abcrown_graft.bounds.windows import is_windowed, largest_window
from abcrown_graft.geometry.box import Box
from abcrown_graft.network import operators as op
from abcrown_graft.network.forward import node_values
from abcrown_graft.network.graph import Network, Node
from abcrown_graft.network.relaxation import Relaxation

CHUNK_ELEMENTS = {"cpu": 2**18, "cuda": 2**27}  # numbers in one coefficient tensor: fits a CPU's cache, fills a GPU
MANY_BOXES, FEW_NEURONS = 4, 512  # from so many boxes on, nodes of up to so many neurons are bounded batch by batch
SMALL_WINDOW = 0.3  # share of a map up to which windows beat the live neurons of the whole map on a CPU
FEW_SIDES = 64  # of an image, up to which convolutions cost less than cutting its live neurons out of the matrices


@dataclass(frozen=True, eq=False)
class Bounded:
    """What is known so far: grows along the forward traversal.

    Attributes:
        boxes: of every node so far, by name.
        relaxations: of every activation so far, by site.
        raise_if_late: called between chunks of work; may raise.
    """

    network: Network
    boxes: Mapping[str, Box]
    relaxations: Mapping[str, Relaxation]
    raise_if_late: Callable[[], None]

    @property
    def box(self) -> Box:
        """Of inputs."""
        return self.boxes[self.network.input.name]

    @cached_property
    def at_centre(self) -> Mapping[str, Tensor]:
        """Every node's value at the centre of the box, `(batch, *shape)`."""
        return node_values(self.network, (self.box.lower + self.box.upper) / 2)


@dataclass(frozen=True, eq=False)
class Sides:
    """Neurons of a node to be bounded on one side each, all `(rows,)`.

    Attributes:
        image, neuron: which image of the batch, and which neuron of the flattened node; ascending.
        sign: 1 for a lower bound, -1 for an upper bound, as the lower bound of the negative.
        enough: bounds from here on need no improvement; None: the tightest bounds are wanted.
    """

    image: Tensor
    neuron: Tensor
    sign: Tensor
    enough: Tensor | None = None

    def __getitem__(self, index: slice) -> Sides:
        enough = None if self.enough is None else self.enough[index]
        return Sides(self.image[index], self.neuron[index], self.sign[index], enough)


def tightened(known: Bounded, node: Node, magnitudes: Magnitudes | None) -> Box:
    """The box of what activation `node` reads, with CROWN bounds intersected where it is unstable and not grafted."""
    network, name = known.network, node.inputs[0]
    z = known.boxes[name]
    if _is_exact(network, name):
        return z
    activation = network.activation(node.name)
    lower, upper = z.lower.flatten(1).clone(), z.upper.flatten(1).clone()
    error = magnitudes.error(name).flatten(1) if magnitudes is not None else torch.zeros_like(lower)
    below = (known.at_centre[name] > 0).flatten(1)
    ends = torch.tensor(_ends_inactive(network, node), device=below.device)
    for images, bound in _methods(known, name):
        wanted = activation.unstable(Box(*(end[images].unflatten(1, node.shape) for end in (lower, upper)))).flatten(1)
        for side, enough in ((below, torch.where(below | ~ends, torch.inf, error)), (~below, None)):
            image, neuron = wanted.nonzero(as_tuple=True)
            image = image + images.start
            if not len(image):
                break
            known.raise_if_late()
            at = image, neuron
            sign = torch.where(side[at], 1.0, -1.0).to(lower.dtype)
            found = bound(Sides(image, neuron, sign, None if enough is None else enough[at])) - error[at]
            lower[at] = torch.where(side[at], torch.maximum(lower[at], found), lower[at])
            upper[at] = torch.where(side[at], upper[at], torch.minimum(upper[at], -found))
            wanted = wanted & ~((upper[images] <= 0) & ends)
    return Box(lower.view_as(z.lower), upper.view_as(z.upper))


def _ends_inactive(network: Network, node: Node) -> bool:
    """Whether nothing depends on how negative an inactive neuron of the activation is."""
    hinge = network.activation(node.name).hinge
    return hinge is not None and hinge.slope == 0 and len(network.consumers[node.inputs[0]]) == 1


Method = Callable[[Sides], Tensor]


def _methods(known: Bounded, name: str) -> Iterator[tuple[slice, Method]]:
    """Parts of the batch, and what gives lower bounds of their sides in the way that is fastest for the node."""
    network, batch = known.network, len(known.box)
    if prefers_windows(network, name):
        yield slice(0, batch), partial(_on_windows, known, name)
        return
    if not sparse.fits(network) or (batch >= MANY_BOXES and _is_small(network)):
        yield slice(0, batch), partial(_on_whole_maps, known, name)
        return
    for k in range(batch):
        image = ImageBounds(network, k, known.relaxations, known.boxes)
        yield slice(k, k + 1), partial(_on_live_neurons, known, name, image)


def _is_small(network: Network) -> bool:
    """Whether products for one box are too small to be worth a call each."""
    return all(torch.Size(node.shape).numel() <= FEW_NEURONS for node in network.nodes[1:])


def prefers_windows(network: Network, name: str) -> bool:
    """Whether neurons of a node are pulled back fastest on their receptive fields."""
    if not is_windowed(network, name):
        return False
    share = largest_window(network, name) / max(torch.Size(node.shape).numel() for node in network.nodes)
    return share <= SMALL_WINDOW or not sparse.fits(network)


def _on_windows(known: Bounded, name: str, sides: Sides) -> Tensor:
    size = max(1, CHUNK_ELEMENTS[sides.image.device.type] // (2 * largest_window(known.network, name)))
    parts = [sides[at : at + size] for at in range(0, len(sides.image), size)]
    found = []
    for part in parts:
        known.raise_if_late()
        at = part.image, part.neuron, part.sign
        found.append(bound_neurons(known.network, name, *at, known.relaxations, known.box))
    return torch.cat(found)


def _on_live_neurons(known: Bounded, name: str, image: ImageBounds, sides: Sides) -> Tensor:
    """Sides of one image."""
    if len(sides.image) <= FEW_SIDES:
        return _on_whole_maps(known, name, sides)
    return image.lower(name, sides.neuron, sides.sign, sides.enough)


def _on_whole_maps(known: Bounded, name: str, sides: Sides) -> Tensor:
    """Some sides of every image at a time, as long as the image has any left."""
    batch, shape = len(known.box), known.network.by_name[name].shape
    counts = torch.bincount(sides.image, minlength=batch)
    place = torch.arange(len(sides.image), device=sides.image.device) - (counts.cumsum(0) - counts)[sides.image]
    found = torch.empty_like(sides.sign)
    names = [n.name for n in known.network.nodes]
    largest = max(torch.Size(n.shape).numel() for n in known.network.nodes[: names.index(name) + 1])
    start, most = 0, int(counts.max())
    while start < most:
        known.raise_if_late()
        images = (counts > start).nonzero().flatten()
        size = max(1, CHUNK_ELEMENTS[sides.image.device.type] // (2 * largest * len(images)))
        chunk = ((place >= start) & (place < start + size)).nonzero().flatten()
        image, row = torch.searchsorted(images, sides.image[chunk]), place[chunk] - start
        rows = known.box.lower.new_zeros(len(images), min(size, most - start), torch.Size(shape).numel())
        rows[image, row, sides.neuron[chunk]] = sides.sign[chunk]
        lines = known.relaxations
        if len(images) < batch:
            lines = {site: lines[images] for site, lines in lines.items()}
        found[chunk] = lower_bound(known.network, name, rows.unflatten(2, shape), lines, known.box[images])[image, row]
        start += size
    return found


def _is_exact(network: Network, name: str) -> bool:
    """Whether interval bounds of the node are exact already: only one affine layer mixes neurons on the way to it."""
    node = network.by_name[name]
    if isinstance(node.operator, op.Input):
        return True
    if not isinstance(node.operator, op.AffineOperator):
        return False
    if not node.operator.mixes:
        return all(_is_exact(network, source) for source in node.inputs)
    return len(node.inputs) == 1 and _is_independent(network, node.inputs[0])


def _is_independent(network: Network, name: str) -> bool:
    """Whether each neuron of the node depends on one number of the input, and none on the same as another."""
    node = network.by_name[name]
    if isinstance(node.operator, op.Input):
        return True
    if not isinstance(node.operator, op.AffineOperator) or node.operator.mixes or node.operator.copies:
        return False
    return len(node.inputs) == 1 and _is_independent(network, node.inputs[0])
