"""Concat: variables and constants one after the other."""

from __future__ import annotations

import numpy as np

from abcrown_graft.formats.onnx.axes import checked_axes
from abcrown_graft.formats.onnx.builder import check_size
from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.elementwise import scaled
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Constant, Operand, Shape, Variable, layout
from abcrown_graft.network import operators as op


@OPERATORS.register("Concat")
def concat(call: Call) -> Operand:
    """Along `axis`; constants among variables are added to zeros."""
    operands = [call.operand(position) for position in range(len(call.operands))]
    axis, shape = _joined(call, operands, call.options(axis=0)["axis"])
    variables = [value for value in operands if isinstance(value, Variable)]
    if not variables:
        arrays = [value.array for value in operands if isinstance(value, Constant)]
        if len({array.dtype for array in arrays}) > 1:
            raise call.damaged("constants of different types")
        return Constant(np.concatenate(arrays, axis))
    if len(variables) == len(operands):
        return _together(call, variables, axis, shape)
    return _with_constants(call, operands, axis, shape)


def _joined(call: Call, operands: list[Operand], axis: int) -> tuple[int, Shape]:
    """The axis counted from the front, and the shape of the result."""
    first = operands[0].shape
    (axis,) = checked_axes(call, [axis], len(first))
    around = {(*value.shape[:axis], *value.shape[axis + 1 :]) for value in operands}
    if len(around) > 1 or any(len(value.shape) != len(first) for value in operands):
        raise call.damaged(f"tensors of shapes {[list(value.shape) for value in operands]} along axis {axis}")
    shape = (*first[:axis], sum(value.shape[axis] for value in operands), *first[axis + 1 :])
    check_size(shape)
    return axis, shape


def _together(call: Call, variables: list[Variable], axis: int, shape: Shape, part: str = "") -> Variable:
    dropped = len(shape) - len(layout(shape))
    sources = [call.laid_out(value, value.shape[dropped:]) for value in variables]
    return Variable(call.add(op.Concat(axis - dropped), *sources, part=part), shape)


def _with_constants(call: Call, operands: list[Operand], axis: int, shape: Shape) -> Variable:
    """Variables in their places with zeros between, plus the constants with zeros where the variables are."""
    variables = [value for value in operands if isinstance(value, Variable)]
    size = sum(value.shape[axis] for value in variables)
    known = (*shape[:axis], size, *shape[axis + 1 :])
    joined = _together(call, variables, axis, known, part="variables") if len(variables) > 1 else variables[0]
    numbers = np.split(
        np.arange(1, np.prod(known) + 1).reshape(known), np.cumsum([v.shape[axis] for v in variables])[:-1], axis
    )
    places = iter(numbers)
    index = [next(places) if isinstance(v, Variable) else np.zeros(v.shape, dtype=np.int64) for v in operands]
    shift = [call.weights(v.array) if isinstance(v, Constant) else np.zeros(v.shape) for v in operands]
    spread = call.select(joined.node, np.concatenate(index, axis), part="spread")
    return scaled(call, Variable(spread, shape), 1.0, np.concatenate(shift, axis))
