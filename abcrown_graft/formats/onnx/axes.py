"""Axes as ONNX writes them: negative ones count from the end."""

from __future__ import annotations

from collections.abc import Sequence

from abcrown_graft.formats.onnx.call import Call

MAX_RANK = 32


def axes_of(call: Call, position: int, rank: int) -> tuple[int, ...] | None:
    """The axes in a node's attribute, or in its input at `position`; None where neither is given.

    Args:
        call: the node.
        position: of the input with the axes.
        rank: number of axes of the tensor.

    Raises:
        ModelError: one does not exist, or is given twice.
    """
    given: Sequence[int] | None = call.options(axes=()).get("axes") or None
    if call.has(position):
        given = call.integers(position)
    return None if given is None else checked_axes(call, given, rank)


def checked_axes(call: Call, given: Sequence[int], rank: int) -> tuple[int, ...]:
    """The axes of a tensor of that rank, counted from the front.

    Args:
        call: the node, for messages.
        given: as the file has them.
        rank: number of axes of the tensor.

    Raises:
        ModelError: one does not exist, or is given twice.
    """
    axes = tuple(axis + rank if axis < 0 else axis for axis in given)
    if any(not 0 <= axis < rank for axis in axes) or len(set(axes)) < len(axes):
        raise call.damaged(f"axes {list(given)} of a tensor with {rank} axes")
    return axes
