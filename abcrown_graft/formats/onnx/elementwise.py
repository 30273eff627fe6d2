"""What element-wise operators share: broadcasting, constants folded, scalings and sums of variables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from abcrown_graft.formats.onnx.builder import check_size
from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.values import Constant, Shape, Variable, aligned, layout
from abcrown_graft.network import operators as op


def broadcast_shape(call: Call, *shapes: Shape) -> Shape:
    """What the shapes broadcast to.

    Raises:
        ModelError: they do not.
    """
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        raise call.damaged(f"shapes {[list(shape) for shape in shapes]} do not fit together") from None
    check_size(shape)
    return shape


def folded(call: Call, function: Callable[..., np.ndarray]) -> Constant | None:
    """The operator applied to its operands if all of them are constant, in the precision that they have.

    Raises:
        ModelError: they are of different types.
    """
    arrays = [value.array for value in call.operands if isinstance(value, Constant)]
    if len(arrays) < len(call.operands):
        return None
    broadcast_shape(call, *(array.shape for array in arrays))
    if len({array.dtype for array in arrays}) > 1:
        raise call.damaged(f"constants of types {', '.join(str(array.dtype) for array in arrays)}")
    return Constant(np.asarray(function(*arrays)))


def expanded(call: Call, value: Variable, shape: Shape, part: str) -> str:
    """Name of a node that holds the variable, broadcast to `shape`, in the usual layout.

    Args:
        call: the node.
        value: the variable.
        shape: what to broadcast to, as ONNX has it.
        part: as in `Call.add`.
    """
    if np.prod(value.shape) != np.prod(shape):
        value = call.moved(value, shape, lambda array: np.broadcast_to(array, shape), part)
    return call.laid_out(value, layout(shape))


def scaled(
    call: Call, value: Variable, scale: np.ndarray | float, shift: np.ndarray | float, part: str = ""
) -> Variable:
    """`scale * value + shift`, element by element, with numpy's broadcasting.

    Args:
        call: the node.
        value: the variable.
        scale, shift: arrays, or numbers, of any shapes that broadcast.
        part: as in `Call.add`.
    """
    scale, shift = (np.asarray(array, dtype=np.float64) for array in (scale, shift))
    shape = broadcast_shape(call, value.shape, scale.shape, shift.shape)
    source = expanded(call, value, shape, "expanded")
    return Variable(call.add(op.Scale(aligned(scale, shape), aligned(shift, shape)), source, part=part), shape)


def summed(call: Call, first: Variable, second: Variable, part: str = "") -> Variable:
    """The sum of two variables, with numpy's broadcasting.

    Args:
        call: the node.
        first, second: the variables, of shapes that broadcast.
        part: as in `Call.add`.
    """
    shape = broadcast_shape(call, first.shape, second.shape)
    sources = [expanded(call, value, shape, "expanded") for value in (first, second)]
    return Variable(call.add(op.Add(), *sources, part=part), shape)


def rectified(call: Call, value: Variable, operator: op.Activation | None = None, part: str = "") -> Variable:
    """A ReLU, or another activation, of a variable.

    Args:
        call: the node.
        value: the variable.
        operator: the other activation; None for a ReLU.
        part: as in `Call.add`.
    """
    source = call.laid_out(value, layout(value.shape))
    return Variable(call.add(operator or op.ReLU(), source, part=part), value.shape)


def one_of_each(call: Call) -> tuple[Variable, Constant, int] | None:
    """The variable, the constant and the variable's position, if of two operands just one is constant."""
    first, second = call.operand(0), call.operand(1)
    if isinstance(first, Variable) and isinstance(second, Constant):
        return first, second, 0
    if isinstance(second, Variable) and isinstance(first, Constant):
        return second, first, 1
    return None
