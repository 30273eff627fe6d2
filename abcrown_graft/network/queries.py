"""What a forward pass may ask of a tensor besides its numbers, and where the answers may go.

A tensor's shape begins with the size of the batch. A graph has no batch, so that size may only stand where it stands
in front of a shape: `x.view(x.size(0), -1)`. Its kind and place, `x.dtype` and `x.device`, may only be handed on to
what makes constants. Anything else made of them could reach the numbers, and is refused by name.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any

from torch import fx

from abcrown_graft.errors import UnsupportedError

SHAPE_QUERIES = ("size", "dim", "ndimension", "numel", "nelement", "shape", "ndim", "dtype", "device")
_RANK = ("dim", "ndimension", "ndim")
_PYTHON = ("_operator", "builtins", "math")


class Answer(Enum):
    """What a value knows of the batch."""

    SIZE = auto()
    """The number of images."""
    SHAPE = auto()
    """A shape with that number in front, and only there."""
    KIND = auto()
    """A data type or a device."""
    MADE = auto()
    """Something made of the number of images."""


class Answers:
    """What each node of a graph knows of the batch, in the order of the nodes."""

    def __init__(self, where: Callable[[fx.Node], str], values: Mapping[fx.Node, Any]) -> None:
        """`where` describes a node for messages; `values` are those of a run."""
        self._where = where
        self._values = values
        self._found: dict[fx.Node, tuple[Answer, fx.Node]] = {}

    def ask(self, node: fx.Node, of_input: bool) -> None:
        """Takes in a query of a tensor; a constant's shape is a constant, its kind is not."""
        kind = _query(node, self._values)
        if kind is not None and (of_input or kind is Answer.KIND):
            self._found[node] = kind, node

    def follow(self, node: fx.Node) -> None:
        """Takes in a node whose value does not depend on the input.

        Raises:
            UnsupportedError: it computes with a data type or a device.
        """
        for source in node.all_input_nodes:
            known = self._found.get(source)
            if known is None:
                continue
            if known[0] is Answer.KIND:
                if _is_python(node):
                    raise UnsupportedError(
                        f"{self._where(node)}: what depends on a tensor's dtype or device is no network; "
                        "compute it in __init__"
                    )
                continue
            kind = _made_of(node, known[0], self._values)
            if kind is not None:
                self._found[node] = kind, known[1] if known[0] is Answer.MADE else node

    def check(self, node: fx.Node, reshapes: bool) -> None:
        """Raises UnsupportedError if an operator is given what it may not be.

        Args:
            node: reads the input's numbers.
            reshapes: whether its other arguments are a shape.
        """
        for source in node.all_input_nodes:
            if source not in self._found:
                continue
            kind, origin = self._found[source]
            if kind in (Answer.SIZE, Answer.SHAPE) and reshapes and _stands_in_front(node, source):
                continue
            what = "kind of a tensor" if kind is Answer.KIND else "size of the batch"
            place = self._where(node) if kind is not Answer.MADE else f"{self._where(origin)}, read by {node.name!r},"
            raise UnsupportedError(f"{place} computes with the {what}; what an image's output is must not depend on it")


def asks_shape(node: fx.Node) -> bool:
    """Whether the node only asks for a tensor's shape or kind, not its numbers."""
    if node.op == "call_function" and node.target is getattr:
        return node.args[1] in SHAPE_QUERIES
    return node.op == "call_method" and node.target in SHAPE_QUERIES


def _query(node: fx.Node, values: Mapping[fx.Node, Any]) -> Answer | None:
    name = node.args[1] if node.target is getattr else node.target
    if name in _RANK:
        return None
    if name in ("dtype", "device"):
        return Answer.KIND
    if name == "shape":
        return Answer.SHAPE
    if name != "size":
        return Answer.MADE
    axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    return Answer.SHAPE if axis is None else _entry(axis, values[node.all_input_nodes[0]].dim())


def _entry(index: Any, rank: int) -> Answer | None:
    """What is at an index of a shape of so many sizes; a slice gives several."""
    if isinstance(index, int):
        return Answer.SIZE if index % rank == 0 else None
    if not isinstance(index, slice) or not all(
        isinstance(p, int | None) for p in (index.start, index.stop, index.step)
    ):
        return Answer.MADE
    taken = range(rank)[index]
    if 0 not in taken:
        return None
    return Answer.SHAPE if taken[0] == 0 else Answer.MADE


def _made_of(node: fx.Node, source: Answer, values: Mapping[fx.Node, Any]) -> Answer | None:
    """What a node makes of an answer that it reads."""
    if source is Answer.SHAPE and node.target is operator.getitem:
        return _entry(node.args[1], len(values[node.all_input_nodes[0]]))
    if source is Answer.SHAPE and node.target is operator.add and node.args[0] in node.all_input_nodes:
        return Answer.SHAPE if isinstance(node.args[1], tuple) and len(node.all_input_nodes) == 1 else Answer.MADE
    return Answer.MADE


def _stands_in_front(node: fx.Node, source: fx.Node) -> bool:
    """Whether a reshape's first size, or all of its shape, is this value, and nothing else of it is."""
    sizes = [a for position, a in enumerate(node.args) if position] + list(node.kwargs.values())
    flat = [item for a in sizes for item in (a if isinstance(a, (list, tuple)) else [a])]
    return bool(flat) and flat[0] is source and source not in flat[1:]


def _is_python(node: fx.Node) -> bool:
    """Whether a node is Python's own arithmetic, comparison or attribute."""
    return node.op == "call_function" and getattr(node.target, "__module__", "") in _PYTHON
