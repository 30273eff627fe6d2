"""What every operator of a network is and must say of itself.

An operator is plain data with its rules as methods. Rules and properties that everything else relies on are
abstract: a class that leaves one out is refused when it is defined, by the operator's and the rule's name.
Shapes leave the batch out: an image is `(channels, height, width)`.
"""

from __future__ import annotations

import dataclasses
import inspect
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from abcrown_graft.geometry.box import Box
from abcrown_graft.network.onnx_writer import OnnxWriter

Shape = tuple[int, ...]
Self = TypeVar("Self", bound="Operator")


@dataclass(frozen=True, eq=False)
class Operator:
    """Base of all operators; every tensor field is a constant of the network.

    Subclasses are complete, or say that they are only bases: `class Base(Operator, abstract=True)`. A complete
    operator is not derived from again, because its rules would silently be taken for the new operator's.

    Raises:
        TypeError: at the definition of a class that lacks a rule or a property, or is derived from a complete one.
    """

    is_complete: ClassVar[bool] = False

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        complete = [base.__name__ for base in cls.__mro__[1:] if getattr(base, "is_complete", False)]
        if complete:
            raise TypeError(f"operator {cls.__name__}: {complete[0]} is complete; derive from one of its bases")
        lacking = [] if abstract else missing_rules(cls)
        if lacking:
            raise TypeError(f"operator {cls.__name__} does not define {', '.join(lacking)}")
        cls.is_complete = not abstract

    def map_tensors(self: Self, function: Callable[[Tensor], Tensor]) -> Self:
        """The same operator with `function` applied to each of its tensors."""
        changed = {name: function(value) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return dataclasses.replace(self, **changed) if changed else self

    def ungrafted(self) -> Operator:
        """The operator without its grafts, as the architecture has it."""
        return self

    @property
    @abstractmethod
    def element_wise(self) -> bool:
        """Whether the output has the shape of each input, so that an input that broadcasts is another operator."""

    @abstractmethod
    def value(self, *inputs: Tensor) -> Tensor:
        """The output `(batch, *shape)` for batched inputs."""

    @abstractmethod
    def interval(self, *inputs: Box) -> Box:
        """A box that holds the output for all inputs in the given boxes, in exact arithmetic."""

    @abstractmethod
    def magnitude(self, *inputs: Tensor) -> Tensor:
        """At least the sum of the absolute values of each output's terms.

        Args:
            inputs: at least the absolute values of the inputs, `(batch, *shape)`.
        """

    @abstractmethod
    def longest_sum(self, input_shapes: tuple[Shape, ...], shape: Shape) -> int:
        """The number of terms in the longest sum that the forward and backward rules form, for rounding.

        Args:
            input_shapes, shape: of the inputs and of the output.
        """

    @property
    @abstractmethod
    def roundings(self) -> int:
        """How often a term of an output is rounded where `value` is computed: as a product, and in partial sums.

        0: numbers are only moved or chosen. What a module computes for a constant of the operator counts too.
        """

    @abstractmethod
    def takes_windows(self, shape: Shape) -> bool:
        """Whether windows (see `network.windows`) can be pulled back through it; `shape` is its output's, a map."""

    @abstractmethod
    def window_before(self, h: int, w: int) -> tuple[int, int]:
        """Size of the window on the inputs of which a window of `(h, w)` on the output is a function."""

    @abstractmethod
    def write_onnx(self, graph: OnnxWriter, sources: Sequence[str], shapes: tuple[Shape, ...], output: str) -> None:
        """Adds the operator to a graph, as ONNX nodes of which the last makes the tensor `output`.

        Args:
            graph: takes the ONNX nodes.
            sources, shapes: names of the input tensors, which are there, and their shapes (no batch).
            output: name of the output tensor, which starts the names of all others that are added.

        Raises:
            UnsupportedError: the graph's version of ONNX cannot say it.
        """


def missing_rules(cls: type) -> list[str]:
    """Names of the abstract methods and properties that a class does not define."""
    found = ((name, inspect.getattr_static(cls, name)) for name in dir(cls))
    return [name for name, value in found if getattr(value, "__isabstractmethod__", False)]
