"""The operators that are read, by their ONNX type."""

from __future__ import annotations

from collections.abc import Callable

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.values import Operand
from abcrown_graft.registry import Registry

Rule = Callable[[Call], Operand]
"""Adds to the network what the node computes, and returns its first output."""

OPERATORS: Registry[Rule] = Registry("ONNX operator")
