"""One node of an ONNX graph as the operators' rules see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch

from abcrown_graft.errors import FileFormatError, ModelError, UnsupportedError
from abcrown_graft.formats.onnx.builder import Builder, check_size
from abcrown_graft.formats.onnx.values import Constant, Operand, Shape, Variable, layout
from abcrown_graft.network import operators as op


@dataclass(frozen=True, eq=False)
class Call:
    """An ONNX node with its operands.

    Attributes:
        node: its message.
        where: the file and the node with its opset, for messages.
        operands: by position; None is an optional one that was left out.
        builder: takes the nodes of the network that this one becomes.
    """

    node: onnx.NodeProto
    where: str
    operands: tuple[Operand | None, ...]
    builder: Builder

    def refuse(self, reason: str) -> UnsupportedError:
        """The error for a node that is valid and not supported; it names the file and the node."""
        return UnsupportedError(f"{self.where}: {reason}")

    def damaged(self, reason: str) -> ModelError:
        """The error for a node that breaks the rules of ONNX; it names the file and the node."""
        return ModelError(f"{self.where}: {reason}")

    def options(self, **defaults: Any) -> dict[str, Any]:
        """The node's attributes: integers, floats, strings, tuples of integers, as the defaults are.

        Raises:
            FileFormatError: one is of another type than its default.
            UnsupportedError: one has no default.
        """
        found = dict(defaults)
        for attribute in self.node.attribute:
            value = onnx.helper.get_attribute_value(attribute)
            value = value.decode(errors="replace") if isinstance(value, bytes) else value
            value = tuple(value) if isinstance(value, list) else value
            if attribute.name not in defaults:
                raise self.refuse(f"attribute {attribute.name} is not supported")
            whole = not isinstance(value, tuple) or all(isinstance(entry, int) for entry in value)
            if type(value) is not type(defaults[attribute.name]) or not whole:
                raise FileFormatError(f"{self.where}: attribute {attribute.name} is of the wrong type")
            found[attribute.name] = value
        return found

    def has(self, position: int) -> bool:
        """Whether the operand is given."""
        return position < len(self.operands) and self.operands[position] is not None

    def operand(self, position: int) -> Operand:
        """An operand that the operator cannot do without.

        Raises:
            ModelError: it is missing.
        """
        value = self.operands[position] if position < len(self.operands) else None
        if value is None:
            raise self.damaged(f"input {position} is missing")
        return value

    def variable(self, position: int = 0) -> Variable:
        """An operand that depends on the network's input.

        Raises:
            UnsupportedError: it is constant.
        """
        value = self.operand(position)
        if isinstance(value, Constant):
            raise self.refuse(f"input {position} is constant; simplify the file with a tool such as onnxsim")
        return value

    def array(self, position: int) -> np.ndarray:
        """An operand that does not depend on the network's input.

        Raises:
            UnsupportedError: it does.
        """
        value = self.operand(position)
        if isinstance(value, Variable):
            raise self.refuse(f"input {position} depends on the network's input, where only constants are supported")
        return value.array

    def weight(self, position: int) -> np.ndarray:
        """A constant operand of the network's own type, in float64."""
        return self.weights(self.array(position))

    def weights(self, array: np.ndarray) -> np.ndarray:
        """The numbers of a constant, in float64.

        Raises:
            ModelError: they are of another type than the network.
        """
        if array.dtype != self.builder.dtype:
            raise self.damaged(f"a constant is of type {array.dtype}, the network of type {self.builder.dtype}")
        return array.astype(np.float64, order="C")

    def integers(self, position: int) -> tuple[int, ...]:
        """A constant operand of integers, a vector or a single number.

        Raises:
            ModelError: it is of another type.
        """
        array = self.array(position)
        if array.dtype not in (np.int32, np.int64) or array.ndim > 1:
            raise self.damaged(f"input {position} is not a vector of integers")
        return tuple(int(value) for value in array.ravel())

    def add(self, operator: op.Operator, *inputs: str, part: str = "") -> str:
        """Adds a node to the network; its name, that of the ONNX output unless it is a part of the operator."""
        name = self.node.output[0]
        return self.builder.add(self.builder.unused(f"{name}/{part}") if part else name, operator, *inputs)

    def laid_out(self, value: Variable, shape: Shape) -> str:
        """Name of a node that holds the variable in this shape."""
        return self.builder.laid_out(value.node, shape)

    def rearranged(
        self, value: Operand, shape: Shape, rearrange: Callable[[np.ndarray], np.ndarray], part: str = ""
    ) -> Operand:
        """What moves numbers about without changing them.

        Args:
            value: a constant, or a variable.
            shape: of the result, as ONNX has it.
            rearrange: the operator on arrays; it may put in zeros.
            part: as in `add`.
        """
        if isinstance(value, Variable):
            return self.moved(value, shape, rearrange, part)
        check_size(shape)
        return Constant(rearrange(value.array))

    def moved(
        self, value: Variable, shape: Shape, rearrange: Callable[[np.ndarray], np.ndarray], part: str = ""
    ) -> Variable:
        """`rearranged` of a variable.

        Args:
            value: the variable.
            shape, rearrange, part: as of `rearranged`.
        """
        check_size(shape)
        size = np.prod(value.shape, dtype=np.int64)
        numbers = np.arange(1, size + 1).reshape(value.shape)
        index = rearrange(numbers)
        if index.size == size and np.array_equal(index.ravel(), numbers.ravel()):
            return Variable(value.node, index.shape)
        return Variable(self.select(value.node, index, part), index.shape)

    def select(self, source: str, index: np.ndarray, part: str = "") -> str:
        """A node that picks numbers of another one, counted from 1; 0 is a zero.

        Args:
            source: name of the other node.
            index: numbers of its entries, in the shape of the result as ONNX has it.
            part: as in `add`.
        """
        picked = torch.from_numpy(np.ascontiguousarray(index.reshape(layout(index.shape))))
        return self.add(op.Select(picked), source, part=part)
