"""What a property says of the network it is about."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TensorDeclaration:
    """The network's input or output as the property declares it.

    Attributes:
        name: "X" and "Y" in VNN-LIB 1.0, free in 2.0.
        element_type: "real", "float32" or "float64".
        shape: in VNN-LIB 1.0 `(n,)`.
        onnx_name: of the tensor in the ONNX file, if the property names it.
    """

    name: str
    element_type: str
    shape: tuple[int, ...]
    onnx_name: str | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Interface:
    """The declarations of a property.

    Attributes:
        version: of VNN-LIB, "1.0" or "2.0".
        network: its name in VNN-LIB 2.0, None in 1.0.
        input: the only one.
        output: the only one.
    """

    version: str
    network: str | None
    input: TensorDeclaration
    output: TensorDeclaration
